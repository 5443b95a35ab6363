#!/usr/bin/env python3
"""Speed, memory and accepted length of heads in every form, trained from one cache of states.

  gorgon distill CONFIG --output own.jsonl          (its model answers the prompts itself; CONFIG then trains on own.jsonl)
  python bench/head_forms.py --config CONFIG --test test.jsonl --work /tmp/forms --output bench/results/head_forms.json

Makes the cache once (timed), then trains and evaluates medusa_head_linear own, shared, lowrank x medusa_vocab full, seen. Wall
times are whole processes; `heads_s` is the sum of the steps as metrics.jsonl has them. Peak memory is that of the process.
"""
import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path


def run(command):
    """Wall seconds, peak resident bytes and log of a process that must succeed."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}\n{errors}")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024, errors


def step_seconds(folder):
    steps = [json.loads(line) for line in open(folder / "metrics.jsonl", encoding="utf-8")]
    return sum(s["tokens"] / s["tokens_per_s"] for s in steps if "tokens_per_s" in s and s["tokens_per_s"] > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--config", required=True)
    parser.add_argument("--test", required=True, help="prompts of the chain's accepted length")
    parser.add_argument("--limit", default="96")
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--forms", default="own:full,own:seen,shared:full,shared:seen,lowrank:full,lowrank:seen")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    cache = str(args.work / "states.h5")
    at = ["--set", f"output_dir={args.work / 'cache'}"]
    seconds, peak, errors = run([args.gorgon, "cache", args.config, "--cache", cache, *at])
    states = int(re.search(r"caches (\d+) states", errors).group(1))
    result = {"command": " ".join(["python"] + sys.argv), "device": f"{platform.machine()}, {os.cpu_count()} cores", "states": states,
              "config": Path(args.config).read_text(encoding="utf-8"), "cache_s": seconds, "cache_peak_bytes": peak,
              "cache_bytes": os.path.getsize(cache), "forms": []}
    for form in args.forms.split(","):
        linear, vocabulary = form.split(":")
        folder = args.work / f"{linear}-{vocabulary}"
        shutil.rmtree(folder, ignore_errors=True)
        seconds, peak, _ = run([args.gorgon, "train", args.config, "--cache", cache, "--set", f"output_dir={folder}",
                             "--set", f"medusa_head_linear={linear}", "--set", f"medusa_vocab={vocabulary}",
                             "--set", "state_cache=bf16"])
        report = folder / "eval.json"
        run([args.gorgon, "eval", str(folder), "--data", args.test, "--limit", args.limit, "--draft", "heads",
             "--output", str(report)])
        evaluation = json.loads(report.read_text(encoding="utf-8"))
        row = {"linear": linear, "vocab": vocabulary, "train_s": seconds, "heads_s": step_seconds(folder), "peak_bytes": peak,
               "heads_bytes": os.path.getsize(folder / "medusa_heads.safetensors"), "chain_tau": evaluation["chain_tau"]}
        result["forms"].append(row)
        print(json.dumps(row), flush=True)
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
