#!/usr/bin/env python3
"""Loads exported folders with transformers and compares them with Strait.

  transformers_check.py BIN_DIR WORK_DIR [KIND ...]
  transformers_check.py - WORK_DIR [KIND ...]   what an earlier run left in WORK_DIR, perhaps on
                                                another machine; on its GPU, if it has one

For each kind: trains a tiny model for some steps, exports it, loads the folder with
AutoModelForCausalLM, and asks that no key is missing or unexpected, that float32 logits agree
within 1e-5 relative L2, and that 64 greedy tokens are the same. Exit 0: all hold; 1: one does not.
Needs torch and transformers.
"""
import os
import subprocess
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
PROMPT = "The sea was calm"
NEW_TOKENS = 64

QWEN_MOE = ["model.attention.qk_norm=true", "model.ffn.moe.n_shared=0",
            "model.ffn.moe.score=softmax", "model.ffn.moe.selection_bias=false",
            "model.ffn.moe.bias_rate=0", "model.ffn.moe.scale=1", "model.ffn.moe.groups=1",
            "model.ffn.moe.top_groups=1"]
DEEPSEEK = ["model.ffn.moe.score=sigmoid", "model.ffn.moe.selection_bias=true",
            "model.ffn.moe.n_shared=1", "model.ffn.moe.renormalise=true"]

# name: (config, settings, expected class)
KINDS = {
    "mha": ("tiny_mha", [], "LlamaForCausalLM"),
    "gqa": ("tiny_gqa", [], "LlamaForCausalLM"),
    "gqa_tied": ("tiny_gqa", ["model.tie_embeddings=true"], "LlamaForCausalLM"),
    "gqa_qk_norm": ("tiny_gqa", ["model.attention.qk_norm=true"], "Qwen3ForCausalLM"),
    "gqa_moe": ("tiny_gqa_moe", QWEN_MOE, "Qwen3MoeForCausalLM"),
    "mla": ("tiny_mla", [], "DeepseekV3ForCausalLM"),
    "mla_moe": ("tiny_mla_moe", DEEPSEEK, "DeepseekV3ForCausalLM"),
    "cca": ("tiny_cca", [], "ZayaForCausalLM"),
    "ccgqa": ("tiny_ccgqa", [], "ZayaForCausalLM"),
    "ccgqa_taps": ("tiny_ccgqa", ["model.attention.cca.taps_depthwise=4",
                                  "model.attention.cca.taps_grouped=3",
                                  "model.attention.rope.fraction=0.5"], "ZayaForCausalLM"),
    "zaya": ("tiny_zaya", [], "ZayaForCausalLM"),
    "zaya_plain": ("tiny_zaya", ["model.residual_scale=false",
                                 "model.ffn.moe.router.depth_average=false"], "ZayaForCausalLM"),
    "cca_moe": ("tiny_cca_moe", [], "StraitForCausalLM"),
    "ccgqa_moe": ("tiny_ccgqa_moe", [], "StraitForCausalLM"),
    "cca_one_conv": ("tiny_cca", ["model.attention.cca.convs=1",
                                  "model.attention.cca.value_shift=false"], "StraitForCausalLM"),
    "mha_with_convs": ("tiny_cca", ["model.attention.cca.norm=false",
                                    "model.attention.cca.qk_mean=false",
                                    "model.attention.cca.value_shift=false"], "StraitForCausalLM"),
    "mha_moe": ("tiny_mha_moe", [], "StraitForCausalLM"),
    "mla_moe_softmax": ("tiny_mla_moe", ["model.ffn.moe.score=softmax",
                                         "model.attention.window=24"], "StraitForCausalLM"),
}


def call(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def train_and_export(bins, work, name):
    config, settings, _ = KINDS[name]
    run, to = work / f"run_{name}", work / f"hf_{name}"
    sets = [f"run.dir={run}", "run.device=cpu", "train.steps=20", "optim.warmup_steps=2",
            "optim.lr=3e-3", "eval.sequences=1", "eval.sample_tokens=0", "run.seed=3", *settings]
    call(bins / "train", "--config", config, *(word for s in sets for word in ("--set", s)))
    call(bins / "export", "--run", run, "--to", to)
    return run, to


def record(bins, work, name):
    """Exports a kind and writes down what Strait computes: tokens, logits, greedy tokens."""
    run, _ = train_and_export(bins, work, name)
    tokens = list(PROMPT.encode())
    save_file({"input_ids": np.array(tokens)}, work / "tokens.safetensors")
    call(bins.parent / "tests/model_logits", "--run", run, work / "tokens.safetensors",
         work / "logits.safetensors")
    text = call(bins / "generate", "--run", run, "--prompt-tokens", ",".join(map(str, tokens)),
                "--tokens", NEW_TOKENS, "--temperature", 0, "--device", "cpu")
    save_file({"tokens": np.array(tokens), "greedy": np.array([int(t) for t in text.split()]),
               "logits": load_file(work / "logits.safetensors")["logits"]},
              work / f"strait_{name}.safetensors")


def compare(work, name):
    to, expected = work / f"hf_{name}", load_file(work / f"strait_{name}.safetensors")
    own = KINDS[name][2] == "StraitForCausalLM"
    tokenizer = transformers.AutoTokenizer.from_pretrained(to, trust_remote_code=own)
    tokens = tokenizer(PROMPT)["input_ids"]
    faults = []
    if tokens != expected["tokens"].tolist() or tokenizer.decode(tokens) != PROMPT:
        faults.append(f"tokenizer gives {tokens}")
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        to, dtype=torch.float32, trust_remote_code=own, output_loading_info=True)
    if type(model).__name__ != KINDS[name][2]:
        faults.append(f"is a {type(model).__name__}, expected {KINDS[name][2]}")
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(problem):
            faults.append(f"{problem}: {list(info[problem])[:4]}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.eval().to(device)
    ids = torch.tensor([tokens], device=device)
    with torch.no_grad():
        theirs = model(ids).logits[0].double().cpu()
        greedy = model.generate(ids, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS,
                                do_sample=False, pad_token_id=256)[0, len(tokens):].tolist()
    ours = torch.from_numpy(expected["logits"])
    difference = ((theirs - ours).norm() / ours.norm()).item()
    if not difference <= TOLERANCE:
        faults.append(f"logits differ by {difference:.2e}")
    if expected["greedy"].tolist() != greedy:
        faults.append(f"greedy tokens differ: {expected['greedy'][:8]} and {greedy[:8]}")
    print(f"{'FAIL' if faults else 'ok':5} {name:16} {type(model).__name__:24} {device} "
          f"logits {difference:.1e}  {'; '.join(faults)}", flush=True)
    return not faults


def main():
    bins, work = sys.argv[1], Path(sys.argv[2]).resolve()
    work.mkdir(parents=True, exist_ok=True)
    names = sys.argv[3:] or list(KINDS)
    transformers.logging.set_verbosity_error()
    torch.backends.cudnn.allow_tf32 = False  # float32 convolutions in float32
    torch.set_num_threads(2)
    results = []
    for name in names:
        try:
            if bins != "-":
                record(Path(bins).resolve(), work, name)
            results.append(compare(work, name))
        except Exception as error:  # one kind's failure must not hide the others
            print(f"FAIL  {name:16} {type(error).__name__}: {error}", flush=True)
            results.append(False)
    print(f"{sum(results)} of {len(results)} kinds load in transformers {transformers.__version__}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
