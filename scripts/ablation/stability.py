"""Balance and stability of training: what metrics.jsonl holds of it, reduced to a number a time."""
import statistics
from dataclasses import dataclass
from typing import Callable


@dataclass
class Measure:
    key: str      # stem of the plot
    name: str     # head of the column
    axis: str
    caption: str
    of_layers: Callable = None  # layers of a probe -> number, or None
    of_step: Callable = None    # a step's line -> number, or None


def _over(layers, key, reduce):
    values = [layer[key] for layer in layers if layer.get(key) is not None]
    return reduce(values) if values else None


def _newest_share(key):
    """Share of the newest tap in the sum of squares of all, mean over layers."""
    def share(layers):
        shares = [taps[-1] ** 2 / sum(tap ** 2 for tap in taps)
                  for taps in (layer.get(key) for layer in layers) if taps and any(taps)]
        return statistics.fmean(shares) if shares else None
    return share


MEASURES = (
    Measure("max_logit", "max logit", "largest attention logit",
            "Largest scaled attention score of any layer.",
            of_layers=lambda layers: _over(layers, "max_logit", max)),
    Measure("key_temperature", "key temp.", "key temperature, mean",
            "Key temperature, mean over layers and heads.",
            of_layers=lambda layers: _over(layers, "tau_mean", statistics.fmean)),
    Measure("key_temperature_max", "key temp. max", "key temperature, largest",
            "Largest key temperature of any layer and head.",
            of_layers=lambda layers: _over(layers, "tau_max", max)),
    Measure("conv0_newest", "conv 0 newest tap", "share of the newest tap",
            "Depthwise convolution: the newest tap's share of the squared tap norms, mean over "
            "layers; 1 would look at no earlier token.",
            of_layers=_newest_share("conv0_taps")),
    Measure("conv1_newest", "conv 1 newest tap", "share of the newest tap",
            "Convolution within heads: the newest tap's share of the squared tap norms.",
            of_layers=_newest_share("conv1_taps")),
    Measure("rank_v", "rank of values", "effective rank",
            "Effective rank of the values (exp of the entropy of their normalised singular "
            "values), mean over layers.",
            of_layers=lambda layers: _over(layers, "rank_v", statistics.fmean)),
    Measure("rank_out", "rank of output", "effective rank",
            "Effective rank of the attention output before its projection, mean over layers.",
            of_layers=lambda layers: _over(layers, "rank_out", statistics.fmean)),
    Measure("router_max_load", "router max load", "largest load of an expert",
            "Largest share of an expert times the number of experts; 1 is balanced.",
            of_step=lambda row: row.get("moe_max_load")),
    Measure("router_min_load", "router min load", "smallest load of an expert",
            "Smallest share of an expert times the number of experts; 1 is balanced.",
            of_step=lambda row: row.get("moe_min_load")),
    Measure("grad_norm", "gradient norm", "gradient norm", "Gradient norm before clipping.",
            of_step=lambda row: row.get("grad_norm")),
)


def _points(cell, measure):
    tokens_a_step = cell.file["tokens"] / max(1, cell.file["steps"])
    if measure.of_layers:
        found = [(row["step"], measure.of_layers(row.get("layers", []))) for row in cell.probes]
    else:
        found = [(row["step"], measure.of_step(row)) for row in _thinned(cell.steps)]
    return {step * tokens_a_step: value for step, value in found if value is not None}


def _thinned(rows, most=40):
    every = max(1, len(rows) // most)
    return rows[::-every][::-1]


def series(cells, measure):
    """[(tokens, mean over cells)] at the times that all cells that have it share."""
    tables = [table for table in (_points(cell, measure) for cell in cells) if table]
    if not tables:
        return []
    shared = set.intersection(*(set(table) for table in tables))
    return [(at, statistics.fmean(table[at] for table in tables)) for at in sorted(shared)]


def last(cells, measure):
    points = series(cells, measure)
    return points[-1][1] if points else None
