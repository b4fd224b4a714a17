"""The plots of a sweep's report: each a PNG for report.md and an SVG for report.html.

Colours are those of Okabe and Ito, then two of Tol, which the colour-blind tell apart; markers
differ too.
"""
import statistics

from ablation import stability
from ablation.sweep import median_of, short

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A7A7A",
           "#882255", "#999933")
MARKERS = "osD^vPX*<p"
SIZE = (5.6, 3.7)  # inches; readable when a phone shrinks it to its width


class Plots:
    """Draws into `folder`; `made` collects (stem, caption) in order."""

    def __init__(self, pyplot, sweep, folder):
        self.pyplot, self.sweep, self.folder = pyplot, sweep, folder
        folder.mkdir(parents=True, exist_ok=True)
        pyplot.rcParams.update({
            "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
            "axes.grid": True, "grid.alpha": 0.25, "axes.axisbelow": True,
            "svg.hashsalt": "strait", "legend.frameon": False, "legend.fontsize": 9,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.w_pad": 0.12})
        self.style = {}
        for i, name in enumerate(sweep.variants):
            self.style[name] = {"color": COLOURS[i % len(COLOURS)],
                                "marker": MARKERS[i % len(MARKERS)],
                                "linestyle": ("-", "--", ":")[i // len(COLOURS) % 3]}

    def new(self, height=SIZE[1], **labels):
        figure, axes = self.pyplot.subplots(figsize=(SIZE[0], height))
        axes.set(**labels)
        if labels.get("xlabel") in ("tokens", "training FLOPs"):
            axes.xaxis.set_major_formatter(lambda value, _: short(value))
        return figure, axes

    def save(self, figure, stem, caption, legend=None):
        if legend is not None:
            handles, names = legend.get_legend_handles_labels()
            columns = 2 if max(map(len, names), default=0) > 14 else 3
            figure.legend(handles, names, loc="outside lower center", ncols=columns)
            rows = -(-len(names) // columns)
            figure.set_figheight(figure.get_figheight() + 0.2 * max(0, rows - 2))
        figure.savefig(self.folder / f"{stem}.png", dpi=110, metadata={"Software": None})
        figure.savefig(self.folder / f"{stem}.svg", metadata={"Date": None, "Creator": None})
        self.pyplot.close(figure)
        return stem, caption

    def label(self, name, width=26):
        """A label in lines of at most about `width` characters."""
        lines = [""]
        for word in self.sweep.labels[name].split():
            if lines[-1] and len(lines[-1]) + len(word) >= width:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        return "\n".join(lines)


def gaps(plots):
    """Bars of the difference to the baseline, one a budget, with 95 % intervals."""
    sweep = plots.sweep
    base = sweep.results["baseline"]
    names = [name for name in sweep.variants if name != base]
    budgets = [budget for budget in sweep.budgets
               if any(row["mean"] is not None
                      for row in sweep.budgets[budget]["against_baseline"])]
    if not names or not budgets:
        return []
    figure, axes = plots.new(1.5 + (0.22 + 0.22 * len(budgets)) * len(names),
                             xlabel=f"validation loss minus that of {sweep.labels[base]} [nats]")
    height = 0.8 / len(budgets)
    for b, budget in enumerate(budgets):
        rows = {row["a"]: row for row in sweep.budgets[budget]["against_baseline"]}
        for i, name in enumerate(names):
            row = rows.get(name)
            if row is None or row["mean"] is None:
                continue
            at, paired = i + (b - (len(budgets) - 1) / 2) * height, row["paired"]
            colour, resolved = plots.style[name]["color"], paired["resolved"]
            axes.barh(at, row["mean"], 0.86 * height, edgecolor=colour,
                      facecolor=colour if resolved else "none", hatch="" if resolved else "/////",
                      alpha=0.4 + 0.5 * (b + 1) / len(budgets))
            if paired["low"] is not None:
                axes.plot((paired["low"], paired["high"]), (at, at), color="#1c2330",
                          linewidth=1.3, marker="|", markersize=5)
    _limit_to_means(axes, [row for budget in budgets
                           for row in sweep.budgets[budget]["against_baseline"]])
    axes.axvline(0, color="#1c2330", linewidth=0.9)
    axes.set_yticks(range(len(names)), [plots.label(name) for name in names])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    each = ""
    if len(budgets) > 1:
        each = " From top to bottom in each group: " + ", ".join(
            sweep.budget_label(budget) for budget in budgets) + "."
    return [plots.save(figure, "gaps", "Difference to the baseline, mean over paired seeds with "
                       "95 % intervals; left is better. Hatched: not resolved." + each)]


def _limit_to_means(axes, rows):
    """Two seeds give intervals so wide that bars would vanish: those are cut at the frame."""
    means = [abs(row["mean"]) for row in rows if row["mean"] is not None]
    widest = 3 * max(means, default=0)
    low, high = axes.get_xlim()
    if widest:
        axes.set_xlim(max(low, -widest), min(high, widest))


def claims(plots, budget, elsewhere):
    """Differences of the expected order: as measured, with intervals, and as known elsewhere."""
    labels = plots.sweep.labels
    rows = [row for row in plots.sweep.budgets[budget]["claims"] if row["mean"] is not None]
    if not rows:
        return []
    figure, axes = plots.new(1.4 + 0.45 * len(rows), xlabel="difference of losses [nats]")
    for i, row in enumerate(rows):
        paired = row["paired"]
        if paired["low"] is not None:
            axes.plot((paired["low"], paired["high"]), (i, i), color=COLOURS[0], linewidth=2,
                      marker="|", markersize=7)
        axes.plot(row["mean"], i, "o", color=COLOURS[0], markersize=7,
                  label="here" if i == 0 else None,
                  markerfacecolor=COLOURS[0] if paired["resolved"] else "white")
    there = [(elsewhere[row["a"]] - elsewhere[row["b"]], i) for i, row in enumerate(rows)
             if row["a"] in elsewhere and row["b"] in elsewhere]
    if there:
        axes.plot(*zip(*there), "D", color=COLOURS[1], markersize=6, linestyle="",
                  label="reference")
    _limit_to_means(axes, rows)
    axes.axvline(0, color="#1c2330", linewidth=0.9)
    axes.set_yticks(range(len(rows)), [f"{_cut(labels[row['a']])}\nminus {_cut(labels[row['b']])}"
                                       for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    return [plots.save(figure, f"claims_{budget}", "The expected order, difference by difference, "
                       f"{plots.sweep.budget_label(budget)} a cell, with 95 % intervals; left of "
                       "0 the first is better. Hollow: not resolved.", axes)]


def _cut(label, most=26):
    return label if len(label) <= most else label[:most - 2] + ".."


def curves(plots, budget):
    """Loss against tokens, FLOPs and training time, mean over seeds: of validation, or of training
    where some cell was validated fewer than three times."""
    sweep, made = plots.sweep, []
    every = [cell for name in sweep.variants for cell in sweep.done(name, budget)]
    validated = all(len(cell.evals) >= 3 for cell in every)
    curve, what = (mean_curve, "validation") if validated else (training_curve, "training")
    axes_of = {"tokens": ("tokens", lambda cells: 1.0),
               "flops": ("training FLOPs",
                         lambda cells: cells[0].file["counts"]["train_flops_per_token"]),
               "time": ("training time [s]", lambda cells: 1 / (median_of(cells, "tok_s") or 0))}
    for stem, (label, scale_of) in axes_of.items():
        figure, axes = plots.new(xlabel=label, ylabel=f"{what} loss [nats]")
        late, begin = [], []
        for name in sweep.variants:
            cells = sweep.done(name, budget)
            try:
                scale = scale_of(cells) if cells else None
            except (KeyError, ZeroDivisionError):
                scale = None
            if scale is None:
                continue
            tokens, losses = curve(cells)
            if not tokens:
                continue
            axes.plot([at * scale for at in tokens], losses, label=sweep.labels[name],
                      markersize=4, linewidth=1.5, markevery=max(1, len(tokens) // 15),
                      **plots.style[name])
            late += losses[len(losses) // 2:]
            begin += [at * scale for at in tokens[len(tokens) // 2:][:1]]
        if not late:
            plots.pyplot.close(figure)
            continue
        margin = 0.04 * (max(late) - min(late)) + 1e-3
        axes.set_ylim(min(late) - margin, max(late) + margin)
        axes.set_xlim(left=0.9 * min(begin))
        text = f"{what.capitalize()} loss against {label.split(' [')[0]}, mean over seeds, " \
               f"{sweep.budget_label(budget)} a cell; the first half is cut off."
        if stem == "time":
            text += " Time is of training steps alone, at each variant's median rate."
        made.append(plots.save(figure, f"loss_{stem}", text, axes))
    return made


def mean_curve(cells):
    """(tokens, mean validation loss) at the evaluations that all cells have."""
    shared = set.intersection(*(set(at for at, _ in cell.evals) for cell in cells))
    tokens = sorted(shared)
    tables = [dict(cell.evals) for cell in cells]
    return tokens, [statistics.fmean(table[at] for table in tables) for at in tokens]


def training_curve(cells):
    """(tokens, mean training loss) at the steps that all cells have, smoothed over a twentieth."""
    tables = [{row["tokens"]: row["loss"] for row in cell.steps} for cell in cells]
    tokens = sorted(set.intersection(*map(set, tables)))
    means = [statistics.fmean(table[at] for table in tables) for at in tokens]
    reach = len(means) // 40
    return tokens, [statistics.fmean(means[max(0, i - reach):i + reach + 1])
                    for i in range(len(means))]


def gap_curves(plots, budget):
    """The paired difference to the baseline while training goes on."""
    sweep = plots.sweep
    base = sweep.results["baseline"]
    of_base = {cell.seed: dict(cell.evals) for cell in sweep.done(base, budget)}
    figure, axes = plots.new(xlabel="tokens",
                             ylabel=f"loss minus {sweep.labels[base]} [nats]")
    late = []
    for name in sweep.variants:
        pairs = [(dict(cell.evals), of_base[cell.seed]) for cell in sweep.done(name, budget)
                 if cell.seed in of_base]
        if name == base or not pairs:
            continue
        tokens = sorted(set.intersection(*(set(a) & set(b) for a, b in pairs)))
        if len(tokens) < 2:
            continue
        means = [statistics.fmean(a[at] - b[at] for a, b in pairs) for at in tokens]
        axes.plot(tokens, means, label=sweep.labels[name], markersize=4, linewidth=1.5,
                  **plots.style[name])
        late += means[len(means) // 4:]
    if not late:
        plots.pyplot.close(figure)
        return []
    axes.axhline(0, color="#1c2330", linewidth=0.9)
    margin = 0.06 * (max(late + [0]) - min(late + [0])) + 1e-4
    axes.set_ylim(min(late + [0]) - margin, max(late + [0]) + margin)
    return [plots.save(figure, f"gap_tokens_{budget}", "How the gap to the baseline moves with "
                       "training, mean over paired seeds, "
                       f"{sweep.budget_label(budget)} a cell.", axes)]


def context(plots, budget):
    """What far context gains while training goes on, mean over seeds."""
    sweep = plots.sweep
    figure, axes = plots.new(xlabel="tokens", ylabel="loss, early minus late positions")
    drawn = False
    for name in sweep.variants:
        tables = [dict(cell.context) for cell in sweep.done(name, budget) if cell.context]
        if not tables:
            continue
        drawn = True
        tokens = sorted(set.intersection(*map(set, tables)))
        axes.plot(tokens, [statistics.fmean(table[at] for table in tables) for at in tokens],
                  label=sweep.labels[name], markersize=4, linewidth=1.5, **plots.style[name])
    if not drawn:
        plots.pyplot.close(figure)
        return []
    axes.axhline(0, color="#1c2330", linewidth=0.9)
    return [plots.save(figure, f"context_{budget}", "What far context gains, mean over seeds, "
                       f"{sweep.budget_label(budget)} a cell.", axes)]


def pareto(plots, budget):
    """Final loss against the key/value cache; a line joins those that none beats in both."""
    sweep = plots.sweep
    points = []
    for row in sweep.budgets[budget]["variants"]:
        size = sweep.variants[row["name"]]["counts"].get("kv_bytes_per_token")
        if row["loss"] is not None and size:
            points.append((size, row["loss"], row["name"]))
    if not points:
        return []
    figure, axes = plots.new(xlabel="key/value cache [bytes per token]",
                             ylabel="validation loss [nats]", xscale="log")
    best, front = float("inf"), []
    for size, loss, _ in sorted(points):
        if loss < best:
            best = loss
            front.append((size, loss))
    axes.plot(*zip(*front), color="#7A7A7A", linewidth=1, linestyle="--", zorder=1)
    for size, loss, name in points:
        style = {key: plots.style[name][key] for key in ("color", "marker")}
        axes.plot(size, loss, linestyle="", markersize=8, label=sweep.labels[name], **style)
    sizes = sorted({size for size, _, _ in points})
    axes.set_xticks(sizes, [short(size) for size in sizes], rotation=40, ha="right")
    axes.minorticks_off()
    axes.margins(0.12)
    return [plots.save(figure, "pareto", "Final loss against the bytes of cache a token costs; the "
                       "dashed line joins variants that no other beats in both.", axes)]


def bars(plots, budget, stem, values, xlabel, caption):
    """One horizontal bar a variant."""
    names = [name for name in plots.sweep.variants if values.get(name)]
    if not names:
        return []
    figure, axes = plots.new(1.0 + 0.42 * len(names), xlabel=xlabel)
    for i, name in enumerate(names):
        axes.barh(i, values[name], 0.7, color=plots.style[name]["color"], alpha=0.85)
        axes.text(values[name], i, f" {short(values[name])}", va="center", fontsize=9)
    axes.set_yticks(range(len(names)), [plots.label(name) for name in names])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.14)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    return [plots.save(figure, stem, caption, None)]


def cost(plots, budget):
    done = {name: plots.sweep.done(name, budget) for name in plots.sweep.variants}
    speed = {name: median_of(cells, "tok_s") for name, cells in done.items()}
    memory = {name: (median_of(cells, "peak_bytes") or 0) / 2**30 for name, cells in done.items()}
    return (bars(plots, budget, "throughput", speed, "tokens/s",
                 "Training throughput, median over seeds.")
            + bars(plots, budget, "memory", memory, "GiB",
                   "Memory at its highest while training, median over seeds."))


def tuning(plots):
    sweep = plots.sweep
    tuned = {name: variant["tuned"] for name, variant in sweep.variants.items()
             if variant.get("tuned")}
    if not tuned:
        return []
    figure, axes = plots.new(xlabel=sweep.file["tune"]["key"], ylabel="validation loss [nats]",
                             xscale="log")
    for name, found in tuned.items():
        axes.plot(*zip(*found["losses"]), label=sweep.labels[name], markersize=4, linewidth=1.5,
                  **plots.style[name])
    values = sorted({value for found in tuned.values() for value, _ in found["losses"]})
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    return [plots.save(figure, "tuning", "Short runs at each value; the lowest was taken.", axes)]


def probes(plots, budget):
    """Every measure that some cell recorded, against tokens."""
    sweep, made = plots.sweep, []
    for measure in stability.MEASURES:
        figure, axes = plots.new(xlabel="tokens", ylabel=measure.axis)
        drawn = False
        for name in sweep.variants:
            points = stability.series(sweep.done(name, budget), measure)
            if points:
                drawn = True
                axes.plot(*zip(*points), label=sweep.labels[name], markersize=4, linewidth=1.5,
                          **plots.style[name])
        if drawn:
            made.append(plots.save(figure, measure.key, measure.caption, axes))
        else:
            plots.pyplot.close(figure)
    return made
