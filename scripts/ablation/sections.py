"""The sections of a sweep's report, in order. Every function adds to a Document what is there and
says what is absent."""
import json
import statistics

from ablation import figures, stability
from ablation.document import Figures, Folded, Table
from ablation.summary import claims_text, differing, expected_text, order_text
from ablation.sweep import median_of, short
from ablation.words import interval, number, percent, probability, seeds_text, verdict

OUTLYING = 5  # times the usual scatter over seeds: one variant's noise is another
QUANTITIES = {"total_parameters": "parameters", "active_parameters": "active",
              "non_embedding_parameters": "without embedding",
              "attention_parameters": "in attention", "train_flops_per_token": "FLOPs per token",
              "kv_bytes_per_token": "cache bytes per token"}


def losses(document, sweep, plots):
    document.heading("Losses")
    base = sweep.results["baseline"]
    for budget, found in sweep.budgets.items():
        document.subheading(sweep.budget_label(budget) + " a cell")
        against = {row["a"]: row for row in found["against_baseline"]}
        rows = []
        for row in sorted(found["variants"], key=lambda row: (row["loss"] is None, row["loss"])):
            cells = sweep.done(row["name"], budget)
            head = [row["label"], number(row["loss"]), number(bits_per_byte(row["loss"], cells)),
                    str(len(cells))]
            gap = against.get(row["name"])
            if row["name"] == base:
                rows.append(head + ["baseline", "", "", "", "", ""])
            elif gap is None or gap["mean"] is None:
                rows.append(head + ["-", "-", "no paired seed", "-", "-", "-"])
            else:
                paired, pooled = gap["paired"], gap["pooled"]
                rows.append(head + [number(gap["mean"], sign=True), interval(paired),
                                    verdict(paired), probability(paired["p_holm"]),
                                    seeds_text(paired), verdict(pooled)])
        document.add(Table(["variant", "loss", "bits per byte", "seeds", "against baseline",
                            "95 % interval", "verdict", "p (Holm)", "seeds needed",
                            "with pooled noise"], rows, text_columns=(0, 6, 9)))
        document.bullets(row["verdict"] for row in found["against_baseline"])
        noise(document, sweep, found)
    document.add(Figures(plots.folder, figures.gaps(plots)))


def bits_per_byte(loss, cells):
    """Of a mean loss: the tokens of a byte are those of any cell, as all are validated alike."""
    for cell in cells:
        if cell.file.get("val_bpb") and cell.file["val_loss"]:
            return loss * cell.file["val_bpb"] / cell.file["val_loss"]
    return None


def noise(document, sweep, found):
    floor = found["noise"]
    if floor["cell_sd"] is None:
        document.text("Noise: not known, as no variant has been repeated over seeds that another "
                      "one shares.")
        return
    text = (f"Noise floor: two cells of one seed differ by chance with a standard deviation of "
            f"{floor['difference_sd']:.4f} nats ({floor['dof']} degrees of freedom, all variants "
            "together).")
    if floor["unpaired_sd"] is not None:
        unpaired = 2 ** 0.5 * floor["unpaired_sd"]
        text += f" Unpaired, over different seeds, it would be {unpaired:.4f}."
    smallest = [row["paired"]["smallest_resolved"] for row in found["against_baseline"]
                if row["paired"]["smallest_resolved"] is not None]
    if smallest:
        text += (f" With these seeds, differences from {min(smallest):.4f} (quietest pair) to "
                 f"{max(smallest):.4f} nats (noisiest) are resolved four times in five.")
    document.text(text)
    noisy = noisiest(sweep, found)
    if noisy:
        document.text(noisy)


def noisiest(sweep, found):
    """A sentence where one variant's seeds scatter far more than the others', else None."""
    scatter = {}
    for row in found["variants"]:
        losses = [loss for loss in row["losses"] if loss is not None]
        if len(losses) > 1:
            scatter[row["name"]] = statistics.stdev(losses)
    if len(scatter) < 3:
        return None
    name = max(scatter, key=scatter.get)
    others = statistics.median(sd for key, sd in scatter.items() if key != name)
    if scatter[name] < OUTLYING * others:
        return None
    return (f"Not one noise for all: seeds of {sweep.labels[name]} scatter by {scatter[name]:.4f}, "
            f"those of the others by {others:.4f} (median). What `with pooled noise` says of it "
            "assumes that they are alike.")


def order(document, sweep, plots):
    document.heading("Order, expected and measured")
    reference = sweep.file.get("reference") or {}
    if reference.get("text"):
        document.text(f"Expected: {reference['text']}")
    if reference.get("order"):
        document.text(f"**{expected_text(sweep)}**")
    for budget, found in sweep.budgets.items():
        if not found["order"]:
            continue
        document.subheading(sweep.budget_label(budget) + " a cell")
        document.text(f"Measured: **{order_text(sweep, budget)}**")
        if found["claims"]:
            claims(document, sweep, found, reference.get("loss") or {})
        rows = [[f"{sweep.labels[row['a']]} < {sweep.labels[row['b']]}",
                 number(row["mean"], sign=True), interval(row["paired"]), verdict(row["paired"]),
                 probability(row["paired"]["p_holm"]), verdict(row["pooled"])]
                for row in found["neighbours"]]
        if rows:
            document.add(Table(["neighbours, as measured", "difference", "95 % interval",
                                "verdict", "p (Holm)", "with pooled noise"], rows,
                               text_columns=(0, 3, 5)))
    made = [figure for budget in sweep.budgets
            for figure in figures.claims(plots, budget, reference.get("loss") or {})]
    if made:
        document.add(Figures(plots.folder, made))


def claims(document, sweep, found, losses_elsewhere):
    document.text(claims_text(found) + " An equality can be contradicted, never supported.")
    document.bullets(differing(found))
    rows = []
    for row in found["claims"]:
        there = [losses_elsewhere.get(row[side]) for side in "ab"]
        rows.append([row["claim"], "-" if None in there else f"{there[0] - there[1]:+.3f}",
                     number(row["mean"], sign=True), interval(row["paired"]), row["outcome"],
                     probability(row["paired"]["p_holm"]), row["outcome_pooled"]])
    document.add(Table(["expected", "difference there", "here", "95 % interval", "outcome",
                        "p (Holm)", "with pooled noise"], rows, text_columns=(0, 4, 6)))
    shares(document, sweep, found, losses_elsewhere)


def shares(document, sweep, found, losses_elsewhere):
    """Of an order without ties, as one of components added step by step: what each step brings."""
    rows = found["claims"]
    groups = sweep.file["reference"]["order"]
    means = [row["mean"] for row in rows]
    if len(rows) < 2 or len(rows) != len(groups) - 1 or None in means:
        return
    there = [losses_elsewhere.get(name) for (name,) in groups]
    table = []
    for i, row in enumerate(rows):
        known = None not in there and there[0] != there[-1]
        share = (there[i] - there[i + 1]) / (there[0] - there[-1]) if known else None
        here = means[i] / sum(means) if sum(means) else None
        table.append([f"{sweep.labels[row['b']]} to {sweep.labels[row['a']]}",
                      *("-" if part is None else f"{100 * part:.0f} %" for part in (share, here))])
    document.add(Table(["step", "share of the whole there", "here"], table[::-1],
                       f"Shares of the difference between {sweep.labels[groups[-1][0]]} and "
                       f"{sweep.labels[groups[0][0]]}, which is {abs(sum(means)):.4f} nats here. "
                       "They have the intervals of the differences above."))


def curves(document, sweep, plots):
    budget = sweep.largest_budget()
    made = figures.curves(plots, budget)
    for each in sweep.budgets:
        made += figures.gap_curves(plots, each)
    made += figures.pareto(plots, budget)
    document.heading("Curves")
    if made:
        document.add(Figures(plots.folder, made))
    else:
        document.text("No finished cell has evaluations to draw.")


def cost(document, sweep, plots):
    document.heading("Cost")
    budget = sweep.largest_budget()
    rows = []
    for name, variant in sweep.variants.items():
        cells, counts = sweep.done(name, budget), variant["counts"]
        peak = median_of(cells, "peak_bytes")
        rows.append([variant["label"], *(short(counts.get(key)) for key in QUANTITIES),
                     short(median_of(cells, "tok_s")),
                     "-" if peak is None else f"{peak / 2**30:.2f}",
                     number(median_of(cells, "wall_s"), 0)])
    shared = sorted({int(cell.file.get("jobs_per_gpu", 1)) for cell in sweep.cells if cell.done})
    caption = f"Speed, memory and time: medians over the cells of {sweep.budget_label(budget)}."
    if shared and shared[-1] > 1:
        caption += (f" Cells shared a device ({', '.join(map(str, shared))} at a time), which "
                    "their speed and time include.")
    document.add(Table(["variant", *QUANTITIES.values(), "tokens/s", "GiB", "seconds a cell"], rows,
                       caption))
    made = figures.cost(plots, budget)
    if made:
        document.add(Figures(plots.folder, made))


def matching(document, sweep):
    document.heading("What was held equal")
    match = sweep.file.get("match")
    if not match:
        document.text("Nothing was matched: variants differ in every count by what they are.")
    else:
        free = ", ".join(f"`{key['key']}` in multiples of {key['multiple']}"
                         for key in match["free"])
        of = match.get("target_variant")
        whose = f" (what {sweep.labels[of]} has)" if of else ""
        document.text(f"`{match['quantity']}` within {100 * match['tolerance']:g} % of "
                      f"{short(match['target'])}{whose}, rounding {match['rounding']}, by solving "
                      f"for {free}.")
    keys = [key for key in QUANTITIES
            if any(key in (variant.get("advantage") or {}) for variant in sweep.variants.values())]
    rows = []
    for variant in sweep.variants.values():
        solved = ", ".join(f"{key} = {value}" for key, value in variant["solved"].items())
        rows.append([variant["label"], solved or "as it is", percent(variant.get("deviation")),
                     *(percent((variant.get("advantage") or {}).get(key)) for key in keys)])
    document.add(Table(["variant", "solved for", "off the target",
                        *(f"{QUANTITIES[key]}, over baseline" for key in keys)], rows,
                       text_columns=(0, 1)))
    if sweep.file.get("not_matched"):
        document.text("Not equal, and to whom the advantage goes:")
        document.bullets(sweep.file["not_matched"])


def tuning(document, sweep, plots):
    tune = sweep.file.get("tune")
    document.heading("Learning rates")
    if not tune:
        document.text("Not tuned: every variant trained at the value of its config.")
        return
    document.text(f"`{tune['key']}` was tuned for each variant in runs of "
                  f"{short(tune['tokens'])} tokens, seed{'s' * (len(tune['seeds']) > 1)} "
                  f"{', '.join(str(int(seed)) for seed in tune['seeds'])}.")
    rows = []
    for variant in sweep.variants.values():
        tuned = variant.get("tuned")
        found = dict(map(tuple, tuned["losses"])) if tuned else {}
        edge = f"{tuned['edge']} end of the range" if tuned and tuned.get("edge") else ""
        rows.append([variant["label"], f"{tuned['value']:g}" if tuned else "not tuned yet",
                     *(number(found.get(value)) for value in tune["values"]), next_best(found),
                     edge])
    document.add(Table(["variant", "taken", *(f"{value:g}" for value in tune["values"]),
                        "next best", "note"],
                       rows, "A best value at an end of the range may lie beyond it. What these "
                       "runs prefer, longer ones need not: a close next best is another candidate.",
                       text_columns=(0, 3 + len(tune["values"]))))
    made = figures.tuning(plots)
    if made:
        document.add(Figures(plots.folder, made))


def next_best(found):
    """The second lowest of {value: loss}, and how far it lies behind."""
    ranked = sorted((loss, value) for value, loss in found.items() if loss is not None)
    if len(ranked) < 2:
        return "-"
    return f"{ranked[1][1]:g} ({ranked[1][0] - ranked[0][0]:+.4f})"


def training(document, sweep, plots):
    document.heading("Balance and stability")
    budget = sweep.largest_budget()
    table = {name: [stability.last(sweep.done(name, budget), measure)
                    for measure in stability.MEASURES] for name in sweep.variants}
    there = [i for i in range(len(stability.MEASURES)) if any(row[i] for row in table.values())]
    if there:
        document.add(Table(["at the end"] + [stability.MEASURES[i].name for i in there],
                           [[sweep.labels[name], *("-" if row[i] is None else f"{row[i]:.3g}"
                                                   for i in there)]
                            for name, row in table.items()],
                           "Means over seeds; `-`: the variant lacks it or it was not recorded."))
    absent = [measure.name for i, measure in enumerate(stability.MEASURES) if i not in there]
    if absent:
        document.text(f"Not recorded by any cell: {', '.join(absent)}. Probes are written with "
                      "`eval.probe_every`, loads by mixtures of experts.")
    made = figures.probes(plots, budget)
    if made:
        document.add(Figures(plots.folder, made))


def cells(document, sweep):
    document.heading("Cells")
    rows = []
    for cell in sweep.cells:
        file = cell.file
        rows.append([cell.variant, cell.budget, str(cell.seed), cell.status,
                     number(file.get("val_loss")),
                     f"{file['lr']:g}" if file.get("lr") else "-", short(file.get("tokens")),
                     number(file.get("epochs"), 2), number(file.get("wall_s"), 0),
                     file.get("device") or "-", file.get("revision") or "-"])
    document.add(Table(["variant", "budget", "seed", "status", "loss", "rate", "tokens", "epochs",
                        "seconds", "device", "revision"], rows,
                       "Every cell the sweep asks for; `cells.csv` has all of their numbers.",
                       text_columns=(0, 1, 3, 9, 10)))
    document.bullets(f"Failed: {sweep.labels[cell.variant]}, {cell.budget}, seed {cell.seed}: "
                     f"{cell.file.get('error') or 'no message'}"
                     for cell in sweep.cells if cell.status == "failed")


def configs(document, sweep):
    document.heading("Configs")
    origin = f" of `{sweep.file['config']}`" if sweep.file.get("config") else ""
    document.text(f"What each variant sets over the base{origin}, and what was solved for. Whole "
                  "configs: `sweep.json`, and `config.json` of every cell.")
    for name, variant in sweep.variants.items():
        keys = {**variant["set"], **variant["solved"]}
        document.add(Folded(f"{variant['label']} (`{name}`)", json.dumps(keys, indent=2)))


def method(document, sweep):
    document.heading("How differences are judged")
    confidence = 100 * sweep.results["confidence"]
    document.bullets([
        "Cells of one seed share data order, schedule and the initial weights of the parts they "
        "have in common. A difference is taken seed by seed, so what a seed adds cancels.",
        f"Intervals are Student's t at {confidence:g} % for each comparison alone. A difference is "
        f"**resolved** when its p, corrected by Holm's method over its family, is at most "
        f"{1 - sweep.results['confidence']:.2g}. Families: all variants against the baseline; "
        "neighbours in the measured order; statements of the expected order; the others against "
        "the one it puts first; changes of gaps between budgets.",
        "The verdict uses the scatter of the pair's own differences and assumes only that it is "
        "normal. Pooled noise takes one noise for all variants, which has more degrees of "
        "freedom; it is shown beside, and does not decide.",
        "Seeds and tokens needed are estimates for four chances in five, at the strictest level "
        "that the correction may ask; they take the measured noise and difference for the true "
        "ones. Losses of variants are least-squares means, so that a missing cell does not tilt "
        "them."])
    document.text(f"Sweep `{sweep.file['name']}`, written at revision "
                  f"`{sweep.file.get('revision') or 'unknown'}`. Beside this page: `results.json`, "
                  "`cells.csv`, `comparisons.csv`, `plots/`.")
