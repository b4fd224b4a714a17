#!/usr/bin/env python3
"""Compares the multiple-choice scores of ./train --eval-only with lm-evaluation-harness's.

  scripts/check_lm_eval.py [--train build/bin/train] [--model DIR] [--items tests/train/tasks]
                           [--save FOLDER]

DIR is a Hugging Face folder with tokenizer.json that both load; without it, a small Llama of random
weights with a byte-level tokenizer is made. --save keeps that model and the harness's results in
lm_eval.json: tests/train/tasks was made so. Needs the Python packages lm_eval, torch and
transformers; downloads nothing. Prints, for each task, both accuracies and the largest difference
of a log-likelihood. Exit 0: accuracies are equal and log-likelihoods agree to 1e-4 relative
(float32 in another order of summation); 1: they do not; 2: bad use.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
LIMIT = 1e-4
TASKS = {"hellaswag": ("hellaswag/hellaswag.yaml", "hellaswag.jsonl"),
         "arc_easy": ("arc/arc_easy.yaml", "arc.jsonl"),
         "piqa": ("piqa/piqa.yaml", "piqa.jsonl"),
         "winogrande": ("winogrande/default.yaml", "winogrande.jsonl")}


def make_model(folder, length):
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("\u0120", "a"), ("\u0120", "the"), ("e", "r")]
    vocab = {token: i for i, token in enumerate(letters + [a + b for a, b in merges])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>",
         "bos_token": "<|endoftext|>", "clean_up_tokenization_spaces": False}))
    torch.manual_seed(3)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
        max_position_embeddings=length, bos_token_id=len(vocab), eos_token_id=len(vocab),
        tie_word_embeddings=False)).save_pretrained(folder)


def harness_docs(task, path):
    """The items as the hub's datasets hold them, which the harness's tasks read."""
    docs = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    if task == "hellaswag":
        docs = [{**doc, "label": str(doc["label"])} for doc in docs]
    if task == "arc_easy":
        for doc in docs:
            if isinstance(doc["question"], dict):
                choices = doc["question"]["choices"]
                doc["choices"] = {key: [c[key] for c in choices] for key in ("text", "label")}
                doc["question"] = doc["question"]["stem"]
    if task == "piqa":
        labels = path.with_name(path.stem + "-labels.lst").read_text().split()
        docs = [{**doc, "label": int(label)} for doc, label in zip(docs, labels)]
    return docs


def run_harness(model, items, scratch):
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    shipped = Path(lm_eval.__file__).parent / "tasks"
    for task, (yaml, file) in TASKS.items():
        docs = scratch / f"{task}.jsonl"
        docs.write_text("".join(json.dumps(d) + "\n" for d in harness_docs(task, items / file)))
        (scratch / f"{task}.yaml").write_text(
            f"include: {shipped / yaml}\ntask: here_{task}\ntag: null\ndataset_path: json\n"
            f"dataset_name: null\ndataset_kwargs:\n  data_files:\n    validation: {docs}\n"
            "training_split: null\ntest_split: null\nvalidation_split: validation\n"
            "fewshot_split: null\nnum_fewshot: 0\n")
    out = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=1),
        tasks=[f"here_{task}" for task in TASKS],
        task_manager=TaskManager(include_path=str(scratch), include_defaults=False),
        log_samples=True, bootstrap_iters=0)
    results = {}
    for task in TASKS:
        scores = out["results"][f"here_{task}"]
        samples = sorted(out["samples"][f"here_{task}"], key=lambda sample: sample["doc_id"])
        results[task] = {"acc": scores["acc,none"], "acc_norm": scores.get("acc_norm,none"),
                         "scores": [float(r[0]) for s in samples for r in s["filtered_resps"]]}
    return results


def run_train(program, model, items, length, scratch):
    (scratch / "text.txt").write_text("some text " * length)
    (scratch / "config.json").write_text(json.dumps(
        {"data": {"train": str(scratch / "text.txt"), "val_documents": 0, "seq_len": length,
                  "tokenizer": str(model / "tokenizer.json")},
         "init": {"from": str(model)}, "train": {"steps": 1, "batch_size": 2},
         "run": {"dir": str(scratch / "run"), "device": "cpu"},
         "eval": {"tasks": ", ".join(f"{t}={items / file}" for t, (_, file) in TASKS.items())}}))
    subprocess.run([program, "--eval-only", "--config", scratch / "config.json"], check=True)
    results = {}
    for line in (scratch / "run/eval.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["event"] == "task":
            results[row["task"]] = row
    for task, row in results.items():
        lines = (scratch / f"run/eval-{task}.jsonl").read_text().splitlines()
        row["scores"] = [json.loads(line)["log_likelihood"] for line in lines]
    return results


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--train", default="build/bin/train")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--length", type=int, default=128, help="max_position_embeddings of DIR")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--items", type=Path, default=Path("tests/train/tasks"))
    args = parser.parse_args()
    items = args.items.resolve()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or (args.save or Path(folder)) / "model"
        if not args.model:
            model.mkdir(exist_ok=True)
            make_model(model, args.length)
        for name in ("harness", "strait"):
            (Path(folder) / name).mkdir()
        want = run_harness(model, items, Path(folder) / "harness")
        if args.save:
            (args.save / "lm_eval.json").write_text(json.dumps(want, indent=1) + "\n")
        got = run_train(args.train, model, items, args.length, Path(folder) / "strait")
    failed = False
    for task in TASKS:
        a, b = want[task], got[task]
        apart = max(abs(x - y) / abs(x) for x, y in zip(a["scores"], b["scores"]))
        equal = len(a["scores"]) == len(b["scores"]) and abs(a["acc"] - b["acc"]) < 1e-9
        equal &= a["acc_norm"] is None or abs(a["acc_norm"] - b["acc_norm"]) < 1e-9
        failed |= not equal or apart > LIMIT
        print(f"{task}: {len(a['scores'])} choices, acc {a['acc']:.4f} {b['acc']:.4f}, acc_norm "
              f"{a['acc_norm']} {b['acc_norm']}, log-likelihoods apart by {apart:.1e} at most")
    sys.exit(failed)


if __name__ == "__main__":
    main()
