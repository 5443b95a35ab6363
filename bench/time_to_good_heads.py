#!/usr/bin/env python3
"""Time from a self-distilled set of prompts and answers to heads of a given chain tau: gorgon beside the PyTorch of
peer_cached_states.py (own full-vocabulary heads, states kept; stopped behind the first epoch of its schedule whose heads reach it).

Stages, each kept in --work and done once; `--stages` takes some of them, so that the timed ones can have the machine to themselves:
  distill   `gorgon distill` answers rows --rows of --train and the first --limit of --test: the data of both sides, not timed
  gorgon    `gorgon train`, whole process, states computed, and again from its cache of states
  peer      the peer; where both are taken, in interleaved rounds
  eval      `gorgon eval` of both sides' heads: chain tau on the same prompts, simulated and decoded

gorgon's times are those of whole processes, loading and saving included; the peer's are states_s and heads_s of its own clock,
without imports, loading and saving. CPU seconds stand beside them: other programs disturb them less.

  python bench/time_to_good_heads.py --model models/SmolLM2-135M-Instruct.Q4_1.gguf --train train.jsonl --test eval.jsonl \\
      --work /tmp/good-heads --output bench/results/time_to_good_heads.json
"""
import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from measuring import measured_steps, run, write_result

HERE = Path(__file__).parent


def distill(args):
    first, last = map(int, args.rows.split("-"))
    for name, source, lines in [("train", args.train, range(first - 1, last)), ("test", args.test, range(args.limit))]:
        prompts = args.work / f"{name}_prompts.jsonl"
        with open(source, encoding="utf-8") as file:
            prompts.write_text("".join(line for number, line in enumerate(file) if number in lines), encoding="utf-8")
        config = args.work / f"{name}_distill.yaml"
        config.write_text(f"model_path: {args.model}\ntrain_dataset_path: {prompts}\noutput_dir: {args.work}/distill\n", encoding="utf-8")
        run([args.gorgon, "distill", str(config), "--max-new-tokens", "128", "--output", str(args.work / f"{name}.jsonl")])


def gorgon_config(args):
    linear, vocabulary = args.form.split(":")
    return f"""model_path: {args.model}
train_dataset_path: {args.work}/train.jsonl
eval_dataset_path: {args.work}/two.jsonl
metric_for_best_model: eval_loss
output_dir: {args.work}/gorgon
max_seq_length: 512
packing: false
medusa_num_heads: 3
medusa_head_linear: {linear}
medusa_vocab: {vocabulary}
per_device_train_batch_size: {args.batch}
num_train_epochs: {args.epochs}
learning_rate: {args.lr}
lr_scheduler_type: cosine
warmup_ratio: 0.03
state_cache: bf16
logging_steps: 0
save_strategy: "no"
"""


def gorgon(args):
    # With a file for evaluations all rows of the other are trained on; two rows cost next to nothing.
    rows = (args.work / "test.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (args.work / "two.jsonl").write_text("".join(rows[:2]), encoding="utf-8")
    config = args.work / "gorgon.yaml"
    config.write_text(gorgon_config(args), encoding="utf-8")
    shutil.rmtree(args.work / "gorgon", ignore_errors=True)
    whole = run([args.gorgon, "train", str(config)])
    again = run([args.gorgon, "train", str(config), "--force"])  # the states are there
    steps_s = sum(step["tokens"] / step["tokens_per_s"] for step in measured_steps(args.work / "gorgon"))
    return {"seconds": whole.seconds, "cpu_s": whole.cpu_seconds, "heads_s": again.seconds, "heads_cpu_s": again.cpu_seconds,
            "steps_s": steps_s, **whole.usage()}


def peer(args):
    shutil.rmtree(args.work / "peer", ignore_errors=True)
    done = run([args.python, str(HERE / "peer_cached_states.py"), "--model", args.model, "--data", str(args.work / "train.jsonl"),
                "--output", str(args.work / "peer"), "--epochs", str(args.peer_epochs),
                "--schedule-epochs", str(args.peer_schedule), "--batch", str(args.batch), "--lr", args.lr])
    result = json.loads(done.out.strip().splitlines()[-1])
    last = result["epochs"][-1]
    return {"seconds": result["states_s"] + last["heads_s"], "cpu_s": result["states_cpu_s"] + last["heads_cpu_s"],
            "heads_s": last["heads_s"], "heads_cpu_s": last["heads_cpu_s"], "process_s": done.seconds, **result, **done.usage()}


def measure_rounds(args, sides):
    """Interleaved; each measurement is kept as soon as it is there."""
    for number in range(args.rounds):
        for name, measure in sides.items():
            kept = args.work / f"round{number}_{name}.json"
            if not kept.exists():
                measured = measure(args)
                kept.write_text(json.dumps(measured), encoding="utf-8")
                print(f"{name}: {measured['seconds']:.1f} s, heads {measured['heads_s']:.1f} s", file=sys.stderr)


def rounds_of(args):
    read = lambda path: json.loads(path.read_text(encoding="utf-8"))
    return [{name: read(args.work / f"round{number}_{name}.json") for name in ["gorgon", "peer"]} for number in range(args.rounds)]


def evaluate(args):
    for name, heads in [("gorgon", args.work / "gorgon"), ("peer", args.work / "peer" / f"epoch-{args.peer_epochs}")]:
        if (args.work / f"{name}_eval.json").exists():
            continue
        run([args.gorgon, "eval", str(heads), "--data", str(args.work / "test_prompts.jsonl"), "--limit", str(args.limit), "--draft", "heads",
             "--heads-dtype", "full", "--output", str(args.work / f"{name}_eval.json")])


def result(args):
    rounds = rounds_of(args)
    tau = {name: json.loads((args.work / f"{name}_eval.json").read_text(encoding="utf-8"))["chain_tau"] for name in ["gorgon", "peer"]}
    ratios = {name: statistics.median(pair["peer"][name] / pair["gorgon"][name] for pair in rounds) for name in ["seconds", "cpu_s", "heads_s", "heads_cpu_s"]}
    return {"goal": args.goal, "tau": tau, "sooner": ratios, "config": gorgon_config(args), "good_heads": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch, transformers, gguf, safetensors")
    parser.add_argument("--model", required=True, type=os.path.abspath)
    parser.add_argument("--train", required=True, help="JSONL of messages whose prompts are trained on")
    parser.add_argument("--rows", default="1001-1384", help="of --train, from 1")
    parser.add_argument("--test", required=True, help="JSONL of messages whose prompts are decoded")
    parser.add_argument("--limit", type=int, default=96, help="first rows of --test")
    parser.add_argument("--form", default="own:seen", help="gorgon's medusa_head_linear:medusa_vocab")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--peer-epochs", type=int, default=4)
    parser.add_argument("--peer-schedule", type=int, default=8, help="epochs that the peer's cosine is laid out for")
    parser.add_argument("--batch", type=int, default=8, help="sequences a step")
    parser.add_argument("--lr", default="2.0e-3")
    parser.add_argument("--goal", type=float, default=1.42)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--stages", default="distill,gorgon,peer,eval")
    parser.add_argument("--output")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    stages = args.stages.split(",")
    if "distill" in stages:
        distill(args)
    measure_rounds(args, {name: measure for name, measure in [("gorgon", gorgon), ("peer", peer)] if name in stages})
    if "eval" in stages:
        evaluate(args)
    if not (args.work / "gorgon_eval.json").exists() or not (args.work / "peer_eval.json").exists():
        return
    measured = result(args)
    write_result(args.output, measured)
    print(f"tau {measured['tau']['gorgon']:.3f} (peer {measured['tau']['peer']:.3f}); {measured['sooner']['seconds']:.1f} times sooner in all "
          f"({measured['sooner']['cpu_s']:.1f} by CPU time), {measured['sooner']['heads_s']:.1f} in the heads' part ({measured['sooner']['heads_cpu_s']:.1f})")


if __name__ == "__main__":
    main()
