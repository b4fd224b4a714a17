"""The first section of a sweep's report: what there is, and what it says, for each budget."""
from collections import Counter

from ablation import gaps


def order_text(sweep, budget):
    """CCGQA < MHA ? GQA: < where neighbours are resolved, ? where they are not."""
    found = sweep.budgets[budget]
    text = sweep.labels[found["order"][0]]
    for name, pair in zip(found["order"][1:], found["neighbours"]):
        text += (" < " if pair["paired"]["resolved"] else " ? ") + sweep.labels[name]
    return text


def expected_text(sweep):
    groups = [[sweep.labels[name] for name in group if name in sweep.labels]
              for group in sweep.file["reference"]["order"]]
    return " < ".join(" = ".join(group) for group in groups if group)


def claims_text(found):
    outcomes = Counter(row["outcome"] for row in found["claims"])
    return (f"Of the {len(found['claims'])} statements in this order {outcomes['supported']} are "
            f"supported here, {outcomes['contradicted']} contradicted, {outcomes['open']} left "
            "open.")


def differing(found):
    """A sentence on each statement of the expected order that the cells contradict."""
    return [f"Differs at this scale: {row['claim']} was expected; {row['verdict']}"
            for row in found["claims"] if row["outcome"] == "contradicted"]


def summary(document, sweep):
    states = Counter(cell.status for cell in sweep.cells)
    base = sweep.labels[sweep.results["baseline"]]
    ended = f"{states['done']} of {len(sweep.cells)} cells are finished"
    ended += "".join(f", {states[state]} {state}" for state in ("failed", "missing")
                     if states[state])
    document.text(f"{len(sweep.variants)} variants, baseline **{base}**; seeds "
                  f"{', '.join(str(int(seed)) for seed in sweep.results['seeds'])}; "
                  f"{_budgets(sweep)} a cell. {ended}.{_made_on(sweep)}")
    document.bullets(missing(sweep))
    if not states["done"]:
        document.text("No cell is finished: there is nothing to compare yet.")
        return
    document.text("Validation loss in nats per token, lower is better. In a measured order `<` "
                  "stands where the difference of neighbours is resolved, `?` where it is not.")
    for budget, found in sweep.budgets.items():
        if found["order"]:
            summary_of_budget(document, sweep, budget, found)
    edges = [variant["label"] for variant in sweep.variants.values()
             if (variant.get("tuned") or {}).get("edge")]
    if edges:
        document.text(f"The best `{sweep.file['tune']['key']}` lies at an end of the range tried, "
                      f"and may lie beyond it, for: {', '.join(edges)}.")


def summary_of_budget(document, sweep, budget, found):
    cells = [cell for cell in sweep.cells if cell.budget == budget]
    done = sum(cell.done for cell in cells)
    document.subheading(f"{sweep.budget_label(budget)} a cell"
                        + ("" if done == len(cells) else f" ({done} of {len(cells)} cells: "
                           "provisional)"))
    document.text(f"**{order_text(sweep, budget)}**")
    if found["claims"]:
        document.text(f"Expected: {expected_text(sweep)}. {claims_text(found)}")
        document.bullets(differing(found))
    told = gaps.controls_text(sweep, budget)
    if told:
        document.text(told)


def _made_on(sweep):
    done = [cell.file for cell in sweep.cells if cell.done]
    devices = sorted({file.get("device") or "an unknown device" for file in done})
    revisions = Counter(file.get("revision") or "unknown" for file in done)
    if not done:
        return ""
    made = ", ".join(f"`{name}` ({count} cell{'s' * (count > 1)})"
                     for name, count in revisions.most_common())
    return f" Trained on {', '.join(devices)} at revision {made}."


def missing(sweep):
    """A sentence on the cells of each budget and seed that are not finished."""
    for budget in sweep.budgets:
        seeds = {}
        for cell in sweep.cells:
            if cell.budget == budget and not cell.done:
                seeds.setdefault(cell.seed, []).append(sweep.labels[cell.variant])
        for seed, labels in sorted(seeds.items()):
            yield f"Not finished, {sweep.budget_label(budget)}, seed {seed}: {'; '.join(labels)}."


def _budgets(sweep):
    return " and ".join(sweep.budget_label(name) for name in sweep.budgets)
