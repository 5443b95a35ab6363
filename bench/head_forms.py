#!/usr/bin/env python3
"""Speed, memory and accepted length of heads in every form, trained from one cache of states.

  gorgon distill CONFIG --output own.jsonl          (its model answers the prompts itself; CONFIG then trains on own.jsonl)
  python bench/head_forms.py --config CONFIG --test test.jsonl --work /tmp/forms --output bench/results/head_forms.json

Makes the cache once (timed), then trains medusa_head_linear own, shared, lowrank x medusa_vocab full, seen; the run's last evaluation
is the chain's tau on the model's answers in --test. Wall times are whole processes, that evaluation included (the answers to its prompts
are there already); `heads_s` is the sum of the steps as metrics.jsonl has them. Peak memory is that of the process. Every run is exported, and the export checks itself.
"""
import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path

from measuring import measured_steps, run, write_result


def last_line(path):
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def gorgon_train(args, cache, folder, linear, vocabulary, *more):
    return run([args.gorgon, "train", args.config, "--cache", cache, "--set", f"output_dir={folder}", "--set", f"medusa_head_linear={linear}",
                "--set", f"medusa_vocab={vocabulary}", "--set", "state_cache=bf16", "--set", f"eval_dataset_path={args.test}", *more])


def make_cache(args, cache):
    """The states, timed; and what a first run prepares for its evaluation, the model's answers to the prompts of --test, not timed."""
    Path(cache).unlink(missing_ok=True)
    done = run([args.gorgon, "cache", args.config, "--cache", cache, "--set", f"output_dir={args.work / 'cache'}",
                "--set", f"eval_dataset_path={args.test}"])
    states = int(re.search(r"caches (\d+) states", done.err).group(1))
    shutil.rmtree(args.work / "first", ignore_errors=True)
    gorgon_train(args, cache, args.work / "first", "shared", "seen", "--set", "num_train_epochs=1")
    return {"states": states, "cache_s": done.seconds, "cache_cpu_s": done.cpu_seconds, "cache_peak_bytes": done.peak_rss_bytes,
            "cache_bytes": os.path.getsize(cache)}


def train(args, cache, linear, vocabulary):
    folder = args.work / f"{linear}-{vocabulary}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(args.work / "first" / "prepared", folder / "prepared")
    done = gorgon_train(args, cache, folder, linear, vocabulary)
    steps_s = sum(step["tokens"] / step["tokens_per_s"] for step in measured_steps(folder))
    tau = last_line(folder / "metrics.jsonl")["eval_accept_length"]
    row = {"linear": linear, "vocab": vocabulary, "chain_tau": tau, "train_s": done.seconds, "train_cpu_s": done.cpu_seconds, "heads_s": steps_s,
           "share_of_other_programs": round(done.share_of_other_programs, 3), "peak_bytes": done.peak_rss_bytes,
           "heads_bytes": os.path.getsize(folder / "medusa_heads.safetensors")}
    (folder / "trained.json").write_text(json.dumps(row), encoding="utf-8")


def checked_export(args, linear, vocabulary):
    """`gorgon export` reads what it wrote again and compares the heads' answers with those of the run."""
    folder = args.work / f"{linear}-{vocabulary}"
    shutil.rmtree(folder / "export", ignore_errors=True)
    run([args.gorgon, "export", str(folder), "--to", "hf", "--output", str(folder / "export")])
    return os.path.getsize(folder / "export" / "medusa_lm_head.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--config", required=True)
    parser.add_argument("--test", required=True, help="the model's own answers to other prompts (gorgon distill): the chain's walk")
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--forms", default="own:full,own:seen,shared:full,shared:seen,lowrank:full,lowrank:seen")
    parser.add_argument("--stages", default="cache,train,export", help="what each makes is kept in --work; the last one writes --output")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    forms = [form.split(":") for form in args.forms.split(",") if form]
    cache, cached = str(args.work / "states.h5"), args.work / "cached.json"
    stages = args.stages.split(",")
    if "cache" in stages:
        cached.write_text(json.dumps(make_cache(args, cache)), encoding="utf-8")
    if "train" in stages:
        for form in forms:
            train(args, cache, *form)
    rows = []
    for linear, vocabulary in forms if "export" in stages else []:
        folder = args.work / f"{linear}-{vocabulary}"
        row = json.loads((folder / "trained.json").read_text(encoding="utf-8"))
        row["export_bytes"] = checked_export(args, linear, vocabulary)
        rows.append(row)
    if not rows:
        return
    write_result(args.output, {**json.loads(cached.read_text(encoding="utf-8")),
                               "config": Path(args.config).read_text(encoding="utf-8"), "forms": rows})


if __name__ == "__main__":
    main()
