"""What multi_gpu_check.py runs on N GPUs: layouts of ranks, and rows of the scaling table."""
import dataclasses

# Of the comparison of losses: divides into every layout of 8 ranks. In float32, where two
# layouts differ by the order of sums alone.
LOSS_MODEL = {
    "model.attention.n_heads": 8, "model.attention.n_kv_heads": 4, "precision.compute": "f32",
    "train.micro_batch": 0, "train.log_every": 50, "optim.schedule": "constant",
    "optim.warmup_steps": 2, "checkpoint.every": -1, "eval.sequences": 8,
}


def powers(most):
    """1, 2, 4, ... up to `most`."""
    return [1 << i for i in range(most.bit_length()) if 1 << i <= most]


def layouts_of(ranks, moe):
    """Every mesh of all `ranks` that four kv heads allow, both ways of exchanging keys."""
    names = []
    for tp in powers(min(ranks, 4)):
        for cp in powers(ranks // tp):
            dp = ranks // (tp * cp)
            rest = "".join(f"{axis}{n}" for axis, n in (("tp", tp), ("cp", cp)) if n > 1)
            plain = (f"dp{dp}" if dp > 1 else "") + rest or "dp1"
            names += [plain] + [plain + ".ring"] * (cp > 1)
            names += [f"dp{dp}ep{ep}" + rest for ep in powers(dp)[1:] if moe]
    return ",".join(names)


def wide(moe):
    """Settings that bring a config of tests/layouts to widths of the fast kernels."""
    settings = ["model.d_model=256", "model.attention.head_dim=64", "data.seq_len=512",
                "model.attention.cca.taps_depthwise=2"]
    return settings + [f"model.ffn.{'moe.d_expert' if moe else 'd_ff'}=256"]


@dataclasses.dataclass
class Row:
    name: str
    config: str
    ranks: int
    settings: dict
    base: str = ""  # the row of one GPU that its rate is compared with
    bar: int = 0    # per cent of it
    steps: int = 12
    warmup: int = 5
    limit: float = 120  # seconds


def mesh(**axes):
    return {f"parallel.{axis}": n for axis, n in axes.items()}


def weak(per_rank, ranks, **axes):
    """A batch that grows with the data ranks."""
    return {"train.batch_size": per_rank * ranks, "train.micro_batch": per_rank} | mesh(**axes)


def long_row(ranks, length, steps):
    """Context parallelism: one sequence of `length` tokens, blocks recomputed."""
    base = f"dense {length // 1024}k"
    settings = {"data.seq_len": length, "train.batch_size": 1, "train.recompute": "block"}
    if ranks == 1:
        return Row(base, "bench/dense_ccgqa.json", 1, settings, steps=steps, warmup=1)
    return Row(f"{base} cp{ranks}", "bench/dense_ccgqa.json", ranks, settings | mesh(cp=ranks),
               base, 85 if length > 100000 else 0, steps, 1)


def moe_row(ranks, axis="dp"):
    """Random tokens teach a router to send all of them to one expert, more on some layouts than on
    others: experts take places of a sequence in turn, so that rows compare."""
    settings = {"model.ffn.moe.forced_balance": "true"}
    axes = {axis: ranks} if axis == "ep" else {}
    name = f"moe {axis}{ranks}" if ranks > 1 else "moe"
    return Row(name, "bench/moe_ccgqa.json", ranks, settings | weak(8, ranks, **axes),
               "moe" if ranks > 1 else "", 80 if (axis, ranks) == ("ep", 8) else 0, 20)


def rows_of_7b(gpus):
    """Too large for one GPU: told without a base."""
    config, one = "bench/dense_7b.json", {"train.batch_size": 4, "train.micro_batch": 4}
    rows = [Row(f"7b tp{n}", config, n, one | mesh(tp=n)) for n in (2, 4, 8) if n <= gpus]
    if gpus >= 4:
        rows.append(Row(f"7b dp{gpus // 2}tp2", config, gpus, weak(4, gpus // 2, tp=2)))
        rows.append(Row(f"7b dp{gpus}", config, gpus, weak(4, gpus)))
    return rows


def scaling_rows(gpus, tiny):
    """Rows of the scaling table. The long ones of few GPUs come first, so that they stand beside
    each other; then those of all GPUs."""
    dense = "bench/dense_ccgqa.json"
    rows = [long_row(1, 131072, 2)]
    rows += [long_row(n, 131072, 3) for n in powers(gpus)[1:-1]]
    rows += [Row("dense", dense, 1, {}, steps=20), moe_row(1)]
    rows += [Row(f"dense tp{n}", dense, n, mesh(tp=n), "dense", 85 if n == 2 else 0, 20)
             for n in (2, 4) if n <= gpus]
    rows += [Row(f"dense dp{n}", dense, n, weak(4, n), "dense", 95, 20) for n in powers(gpus)[1:]]
    if gpus > 1:
        # Gradients and weights move by themselves, not beside the model.
        rows.append(Row(f"dense dp{gpus} after", dense, gpus,
                        weak(4, gpus) | {"parallel.overlap": "false"}, "dense", 0, 20))
        rows.append(long_row(gpus, 131072, 4))
    rows += [moe_row(n, "ep") for n in powers(gpus)[1:]]
    rows += [moe_row(gpus)] * (gpus > 1)
    rows += rows_of_7b(gpus)
    rows += [long_row(n, 32768, 6) for n in powers(gpus)]
    return [shrunk(row) for row in rows] if tiny else rows


def shrunk(row):
    """The same row of a model that a CPU trains in seconds."""
    small = {"model.d_model": 32, "model.n_layers": 2, "model.vocab_size": 512,
             "model.attention.head_dim": 8, "precision.compute": "f32", "data.seq_len": 128}
    if "7b" in row.config or "dense" in row.config:
        small |= {"model.ffn.d_ff": 64}
    else:
        small |= {"model.ffn.moe.d_expert": 32}
    return dataclasses.replace(row, settings=row.settings | small, steps=4, warmup=1)
