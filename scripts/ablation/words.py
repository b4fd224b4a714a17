"""How a report writes numbers and judgements."""


def number(value, digits=4, sign=False):
    if value is None:
        return "-"
    return f"{value:{'+' if sign else ''}.{digits}f}"


def interval(judgement):
    if judgement["low"] is None:
        return "-"
    return f"[{judgement['low']:+.4f}, {judgement['high']:+.4f}]"


def probability(value):
    return "-" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def verdict(judgement):
    return "resolved" if judgement["resolved"] else "not resolved"


def percent(share):
    return "-" if share is None else f"{100 * share:+.1f} %"


def seeds_text(judgement):
    if judgement["resolved"]:
        return "-"
    if judgement["seeds_needed"]:
        return str(judgement["seeds_needed"])
    return "-" if judgement["sd"] is None else "> 1000"
