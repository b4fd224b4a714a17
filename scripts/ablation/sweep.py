"""What a sweep's folder holds, for drawing: sweep.json, results.json, metrics of its cells."""
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Cell:
    variant: str
    budget: str
    seed: int
    path: str
    status: str
    file: dict  # cell.json, {} when missing
    steps: list = field(default_factory=list)   # step lines of metrics.jsonl
    evals: list = field(default_factory=list)   # (tokens, validation loss)
    context: list = field(default_factory=list)  # (tokens, what far context gains), see far_gain
    probes: list = field(default_factory=list)  # "probe" events

    @property
    def done(self):
        return self.status == "done"

    def training_loss(self):
        """Mean over the last twentieth of the steps logged: with paired data, of the same text."""
        losses = [row["loss"] for row in self.steps]
        return statistics.fmean(losses[-max(1, len(losses) // 20):]) if losses else None


class Sweep:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.file = read_json(self.folder / "sweep.json")
        self.results = read_json(self.folder / "report" / "results.json")
        self.variants = {variant["name"]: variant for variant in self.file["variants"]}
        self.labels = {name: variant["label"] for name, variant in self.variants.items()}
        self.budgets = {budget["name"]: budget for budget in self.results["budgets"]}
        self.cells = [self._cell(cell) for cell in self.results["cells"]]

    def _cell(self, found):
        cell = Cell(found["variant"], found["budget"], int(found["seed"]), found["path"],
                    found["status"], found["cell"] or {})
        if cell.done:
            read_metrics(self.folder / cell.path / "metrics.jsonl", cell)
        return cell

    def done(self, variant, budget):
        return [cell for cell in self.cells
                if cell.done and (cell.variant, cell.budget) == (variant, budget)]

    def paired(self, budget, *variants):
        """[(cell of each variant)] of every seed that all of them have finished."""
        tables = [{cell.seed: cell for cell in self.done(name, budget)} for name in variants]
        shared = set.intersection(*(set(table) for table in tables))
        return [tuple(table[seed] for table in tables) for seed in sorted(shared)]

    def largest_budget(self):
        """The largest budget in which a cell is finished; the largest of all when none is."""
        finished = [name for name in self.budgets
                    if any(cell.done and cell.budget == name for cell in self.cells)]
        return (finished or list(self.budgets))[-1]

    def budget_label(self, name):
        budget = next(b for b in self.file["budgets"] if b["name"] == name)
        unit = {"tokens": "tokens", "flops": "FLOPs", "seconds": "seconds"}[budget["kind"]]
        return f"{short(budget['value'])} {unit}"


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_metrics(path, cell):
    """Fills steps, evaluations and probes. What was repeated after a resume counts as last."""
    steps, evals, far, probes = {}, {}, {}, {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    tokens_a_step = cell.file["tokens"] / max(1, cell.file["steps"])
    for line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break  # a run that was killed may leave half a line
        event, step = row.get("event"), row.get("step")
        if event is None and row.get("loss") is not None:
            steps[step] = row
        elif event == "eval" and row.get("val_loss") is not None:
            evals[step] = row["val_loss"]
            far[step] = far_gain(row.get("by_position") or [])
        elif event == "probe":
            probes[step] = row
    cell.steps = [steps[step] for step in sorted(steps)]
    cell.evals = [(step * tokens_a_step, evals[step]) for step in sorted(evals)]
    cell.context = [(step * tokens_a_step, far[step]) for step in sorted(far)
                    if far[step] is not None]
    cell.probes = [probes[step] for step in sorted(probes)]


def far_gain(by_position):
    """Loss at early positions minus loss in the last half of a window, by buckets that double: the
    early ones begin at a sixteenth of the last one's begin (32 to 63 against 512 to 1,023)."""
    losses = {bucket["from"]: bucket["loss"] for bucket in by_position}
    last = max(losses, default=0)
    return losses[last // 16] - losses[last] if last >= 16 and last // 16 in losses else None


def stays_above(points, level=0):
    """Where the last stretch of (at, value) above `level` begins; None when the end is not."""
    begin = None
    for at, value in points:
        if value <= level:
            begin = None
        elif begin is None:
            begin = at
    return begin


def median_of(cells, key):
    values = [cell.file[key] for cell in cells if cell.file.get(key)]
    return statistics.median(values) if values else None


def short(value):
    """1234567 as 1.23M; small numbers with three digits."""
    if value is None:
        return "-"
    for size, suffix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
