"""Sections on what a gap to the baseline is made of: controls, budgets, fit, use of context."""
import statistics

from ablation import figures
from ablation.document import Figures, Table
from ablation.sweep import short, stays_above
from ablation.words import interval, number, probability, verdict


def controls_of(sweep):
    """Variants that the expected order leaves out, beside the baseline."""
    groups = (sweep.file.get("reference") or {}).get("order") or []
    known = {name for group in groups for name in group} | {sweep.results["baseline"]}
    return [name for name in sweep.variants if name not in known] if groups else []


def share_of_first(sweep, budget, row):
    """(share of the first one's gap that row["a"] has, seeds), over seeds that all three have."""
    found = sweep.paired(budget, row["a"], row["b"], sweep.results["baseline"])
    losses = [[cell.file["val_loss"] for cell in cells] for cells in found]
    whole = sum(first - base for _, first, base in losses)
    return (sum(own - base for own, _, base in losses) / whole if whole else None), len(found)


def controls_text(sweep, budget):
    """A sentence for the summary, or None."""
    parts = []
    for row in sweep.budgets[budget]["against_first"]:
        share, seeds = share_of_first(sweep, budget, row)
        if row["a"] in controls_of(sweep) and share is not None:
            parts.append(f"{sweep.labels[row['a']]} {100 * share:.0f} % ({_seeds(seeds)})")
            first = sweep.labels[row["b"]]
    if not parts:
        return None
    base = sweep.labels[sweep.results["baseline"]]
    return f"Of the gap between {first} and {base} the controls have: {'; '.join(parts)}."


def _seeds(count):
    return f"{count} seed{'' if count == 1 else 's'}"


def controls(document, sweep):
    if not controls_of(sweep):
        return
    document.heading("Controls")
    for budget, found in sweep.budgets.items():
        rows = []
        for row in found["against_first"]:
            share, seeds = share_of_first(sweep, budget, row)
            if share is None or row["a"] not in controls_of(sweep):
                continue
            first = sweep.labels[row["b"]]
            rows.append([sweep.labels[row["a"]], f"{100 * share:.0f} %", str(seeds),
                         number(row["mean"], sign=True), interval(row["paired"]),
                         verdict(row["paired"]), probability(row["paired"]["p_holm"]),
                         verdict(row["pooled"])])
        if not rows:
            continue
        document.subheading(sweep.budget_label(budget) + " a cell")
        document.add(Table(["control", f"share of {first}'s gap", "seeds", f"loss above {first}'s",
                            "95 % interval", "verdict", "p (Holm)", "with pooled noise"], rows,
                           "The share is of mean differences to the baseline, over the seeds that "
                           "all three have. What a control leaves stands beside, with its "
                           "interval: where that is not resolved, the control may explain all.",
                           text_columns=(0, 5, 7)))


def moves(document, sweep):
    rows = []
    for move in sweep.results["moves"]:
        if move["mean"] is None:
            continue
        at = []
        for budget in (move["from"], move["to"]):
            row = next(row for row in sweep.budgets[budget]["against_baseline"]
                       if row["a"] == move["a"])
            at.append(dict(zip(row["seeds"], row["differences"])))
        shared = sorted(set(at[0]) & set(at[1]))
        before, after = (statistics.fmean(gaps[seed] for seed in shared) for gaps in at)
        rows.append([sweep.labels[move["a"]], str(len(shared)), number(before, sign=True),
                     number(after, sign=True), number(move["mean"], sign=True),
                     interval(move["paired"]), verdict(move["paired"]), verdict(move["pooled"]),
                     f"{100 * after / before:.0f} %" if before * after > 0 else "other sign"])
    if not rows:
        return
    document.heading("How gaps move with the budget")
    first, last = (sweep.budget_label(sweep.results["moves"][0][key]) for key in ("from", "to"))
    document.add(Table(["against the baseline", "seeds", first, last, "change", "95 % interval",
                        "verdict", "with pooled noise", "left"], rows,
                       "Over the seeds that have all four cells; the change is judged seed by "
                       "seed, as one family. Above 0 in `change`: moves against the variant.",
                       text_columns=(0, 6, 7)))


def fit(document, sweep):
    """Validation against training: a gap that repeated text makes is another than one in skill."""
    document.heading("Fit and repeated text")
    epochs = [f"{cell.file['epochs']:.2g} at {sweep.budget_label(budget)}"
              for budget in sweep.budgets
              for cell in [cell for cell in sweep.cells if cell.done and cell.budget == budget][:1]
              if cell.file.get("epochs")]
    if epochs:
        document.text(f"Epochs over the training text: {', '.join(epochs)}.")
    base = sweep.results["baseline"]
    rows = []
    for name in sweep.variants:
        cells = [sweep.labels[name]]
        for budget in sweep.budgets:
            pairs = sweep.paired(budget, name, base)
            gaps = [[own - other for own, other in zip(*map(_both_losses, pair))]
                    for pair in pairs if all(cell.steps for cell in pair)]
            rises = [cell.evals[-1][1] - min(loss for _, loss in cell.evals)
                     for cell in sweep.done(name, budget) if len(cell.evals) > 2]
            means = [statistics.fmean(column) for column in zip(*gaps)] or [None, None]
            if name == base:
                means = ["baseline", ""]
            cells += [*(m if isinstance(m, str) else number(m, sign=True) for m in means),
                      number(statistics.fmean(rises), sign=True) if rises else "-"]
        rows.append(cells)
    head = ["variant"]
    for budget in sweep.budgets:
        label = sweep.budget_label(budget)
        head += [f"{label}: training gap", "validation gap", "end above lowest"]
    document.add(Table(head, rows, "Gaps to the baseline over paired seeds: of the training loss "
                       "over the last twentieth of the steps, and of the validation loss at the "
                       "end. `end above lowest`: how far the last validation lies above the lowest "
                       "one on the way. Where it rises, or where the training gap outlives the "
                       "validation gap, the text has been seen too often to tell variants apart "
                       "by their loss on new text alone."))


def _both_losses(cell):
    return cell.training_loss(), cell.file["val_loss"]


def context(document, sweep, plots):
    """When a model begins to use far context, and what it gains."""
    rows = []
    for name in sweep.variants:
        cells = [sweep.labels[name]]
        for budget in sweep.budgets:
            done = [cell for cell in sweep.done(name, budget) if cell.context]
            begins = [stays_above(cell.context) for cell in done]
            cells.append(", ".join("never" if at is None else short(at) for at in begins) or "-")
            ends = [cell.context[-1][1] for cell in done]
            cells.append(number(statistics.fmean(ends), 3, sign=True) if ends else "-")
        rows.append(cells)
    if all(cell == "-" for row in rows for cell in row[1:]):
        return
    document.heading("Use of context")
    document.text("What far context gains: validation loss at early positions of a window minus "
                  "that in its second half (buckets of positions that double; 32 to 63 against 512 "
                  "to 1,023 in a window of 1,024). At or below 0 a model does not use it yet. It "
                  "learns that within few steps, variants at different times: a gap at a small "
                  "budget may tell of that delay rather than of the loss that a variant "
                  "approaches.")
    head = ["variant"]
    for budget in sweep.budgets:
        head += [f"{sweep.budget_label(budget)}: above 0 from, each seed", "gain at the end"]
    document.add(Table(head, rows, "Tokens of the evaluation from which on the gain stays above 0.",
                       text_columns=(0, *range(1, 2 * len(sweep.budgets), 2))))
    made = [figure for budget in sweep.budgets for figure in figures.context(plots, budget)]
    if made:
        document.add(Figures(plots.folder, made))
