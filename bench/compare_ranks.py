#!/usr/bin/env python3
"""gorgon train by two ranks of one thread each beside one rank of two threads: the same steps, in interleaved rounds.

Efficiency = seconds of a step by one process / seconds of a step by two ranks; the median step of every run but its first one (which
allocates), the median over rounds. One machine of two cores: the work is the same, so what is lost is talk and waiting.

  python bench/compare_ranks.py --gorgon build/trainer/gorgon --data FILE.jsonl --output bench/results/ranks.json
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

CONFIG = """model_path: {model}
train_dataset_path: {data}
output_dir: run
max_seq_length: 256
medusa_num_heads: 5
global_batch_size: 8
per_device_train_batch_size: 4
max_steps: {steps}
learning_rate: 1e-3
logging_steps: 0
eval_strategy: no
save_strategy: no
report_to: none
state_cache: off
"""
RUNS = [("one process, 2 threads", [], "replicate"), ("2 ranks, replicate", ["--gpus", "2"], "replicate"), ("2 ranks, vocab", ["--gpus", "2"], "vocab")]


def seconds_of_steps(folder, gorgon, config, ranks, mode, name):
    run = os.path.join(folder, name)
    command = [gorgon, "train", config, "--set", f"output_dir={run}", "--set", f"parallel_heads={mode}", *ranks]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as lines:
        steps = [json.loads(line) for line in lines]
    return [step["tokens"] / step["tokens_per_s"] for step in steps if "loss" in step][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--model", default="models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "run.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(model=os.path.abspath(arguments.model), data=os.path.abspath(arguments.data), steps=arguments.steps))
        for i in range(arguments.rounds):
            rounds.append({name: seconds_of_steps(folder, arguments.gorgon, config, ranks, mode, f"{i}-{k}")
                           for k, (name, ranks, mode) in enumerate(RUNS)})
            print(json.dumps(rounds[-1]), file=sys.stderr)
    medians = {name: statistics.median(statistics.median(one[name]) for one in rounds) for name, _, _ in RUNS}
    alone = medians[RUNS[0][0]]
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        device = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    result = {"command": shlex.join(["python", "bench/compare_ranks.py", *sys.argv[1:]]), "device": f"{os.cpu_count()} cores, {device}",
              "config": CONFIG.format(model=arguments.model, data=os.path.basename(arguments.data), steps=arguments.steps),
              "timings": [{"what": f"a step: {name}", "seconds": round(seconds, 3)} for name, seconds in medians.items()],
              "efficiency": {name: round(alone / medians[name], 3) for name, _, _ in RUNS[1:]}, "rounds": rounds}
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as out:
            out.write(text + "\n")


if __name__ == "__main__":
    main()
