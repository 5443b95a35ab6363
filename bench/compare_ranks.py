#!/usr/bin/env python3
"""gorgon train by two ranks of one thread each beside one rank of two threads: the same steps, in interleaved rounds.

Efficiency = seconds of a step by one process / seconds of a step by two ranks; the median step of every run but its first one (which
allocates), the median over rounds. One machine of two cores: the work is the same, so what is lost is talk and waiting. "parts": where
rank 0 says that its time went (--profile), in seconds of a step, the median over rounds.

  python bench/compare_ranks.py --gorgon build/trainer/gorgon --data FILE.jsonl --output bench/results/ranks.json
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

from measuring import measured_steps, run, write_result

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
    directory = os.path.join(folder, name)
    said = run([gorgon, "train", config, "--profile", "--set", f"output_dir={directory}", "--set", f"parallel_heads={mode}", *ranks]).out
    steps = [step["tokens"] / step["tokens_per_s"] for step in measured_steps(directory)]
    return {"steps": steps[1:], "parts": parts_of(said, len(steps))}


def parts_of(said, steps):
    """{part: seconds of a step} of the table that --profile prints."""
    parts = {}
    for line in said.split("where the time went", 1)[-1].splitlines()[1:]:
        words = line[34:].split()
        if len(words) != 5 or line.startswith("total"):
            break
        parts[line[:34].strip()] = float(words[0]) / steps
    return parts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--model", default="models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=4)
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
    medians = {name: statistics.median(statistics.median(one[name]["steps"]) for one in rounds) for name, _, _ in RUNS}
    parts = {name: {part: round(statistics.median(one[name]["parts"].get(part, 0) for one in rounds), 4) for part in rounds[0][name]["parts"]}
             for name, _, _ in RUNS}
    alone = medians[RUNS[0][0]]
    result = {"config": CONFIG.format(model=arguments.model, data=os.path.basename(arguments.data), steps=arguments.steps),
              "timings": [{"what": f"a step: {name}", "seconds": round(seconds, 3)} for name, seconds in medians.items()],
              "efficiency": {name: round(alone / medians[name], 3) for name, _, _ in RUNS[1:]}, "parts": parts,
              "rounds": [{name: one[name]["steps"] for name, _, _ in RUNS} for one in rounds]}
    print(json.dumps(result, indent=1))
    write_result(arguments.output, result)


if __name__ == "__main__":
    main()
