#!/usr/bin/env python3
"""Whole training steps: gorgon beside PyTorch on the same sequences, in interleaved pairs on the same machine.

Writes one JSON file: the command, the machine, versions, every pair and the medians of the ratios. Beside wall time stands
CPU time (tokens a second of CPU, all threads): where other programs take cores, it is the steadier of the two.

  python bench/compare_pytorch.py --gorgon build/trainer/gorgon --python /path/to/venv/bin/python \
      --model models/SmolLM2-135M-Instruct.Q4_1.gguf --data tests/golden/reference/rows.jsonl --output bench/results/cpu_all_labels.json
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

from measuring import measured_steps, run, write_result

HERE = os.path.dirname(os.path.abspath(__file__))


def sequences(args, folder):
    """The sequences both sides train on; with --labels P only the last P percent of each sequence keep their label."""
    path = os.path.join(folder, "sequences.jsonl")
    with open(args.data, encoding="utf-8") as source, open(path, "w", encoding="utf-8") as out:
        count = 0
        for line in source:
            row = json.loads(line)
            ids = row["input_ids"]
            labels = list(row.get("labels", ids))
            masked = len(ids) - len(ids) * args.labels // 100
            labels[:masked] = [-100] * masked
            out.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")
            count += 1
            if count == args.batch * (args.steps + 1):
                break
    return path


def profiled(out, name):
    """Wall and CPU seconds of the parts of --profile whose name starts with `name`: its columns are name, seconds, ..., cores."""
    parts = [line[34:].split() for line in out.splitlines() if line.startswith(name)]
    return sum(float(part[0]) for part in parts), sum(float(part[0]) * float(part[-1]) for part in parts)


def profile_table(out):
    lines = out.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("where the time went"))
    end = next(number for number, line in enumerate(lines) if number > begin and line.startswith("total"))
    return lines[begin:end + 1]


def gorgon(args, data, folder, number):
    run_dir = os.path.join(folder, f"run{number}")
    config = os.path.join(folder, f"run{number}.yaml")
    # With a file for evaluations every row of the other is trained on; one row costs next to nothing.
    first = os.path.join(folder, "first.jsonl")
    with open(data, encoding="utf-8") as source, open(first, "w", encoding="utf-8") as out:
        row = source.readline()
        out.write(row)
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"""model_path: {os.path.abspath(args.model)}
train_dataset_path: {data}
eval_dataset_path: {first}
metric_for_best_model: eval_loss
output_dir: {run_dir}
max_seq_length: 4096
packing: false
shuffle: false
medusa_num_heads: {args.heads}
per_device_train_batch_size: {args.batch}
num_train_epochs: 1
learning_rate: 1.0e-4
max_grad_norm: 10
optim: {args.optim}
bf16: {"true" if args.dtype == "bf16" else "false"}
device: cpu
report_to: none
save_strategy: "no"
""")
    done = run([args.gorgon, "train", config, "--resume", "never", "--profile"])
    out = done.out
    _, cpu = profiled(out, "total")  # of all steps, the first one with its allocations too
    prefill, prefill_cpu = profiled(out, "backbone:")
    steps = measured_steps(run_dir)
    tokens = sum(step["tokens"] for step in steps)
    forwarded = tokens + len(json.loads(row)["input_ids"])  # the backbone's time holds the last evaluation's
    return {"tokens_per_s": statistics.median(step["tokens_per_s"] for step in steps[1:]), "tokens_per_cpu_s": tokens / cpu,
            "prefill_tokens_per_s": forwarded / prefill, "prefill_tokens_per_cpu_s": forwarded / prefill_cpu,
            "profile": profile_table(out),
            "losses": [step["loss"] for step in steps], **done.usage()}


def peer(args, data, style):
    done = run([args.python, os.path.join(HERE, "peer_pytorch.py"), "--model", args.model, "--data", data, "--style", style,
                    "--dtype", args.dtype, "--optim", args.optim, "--heads", str(args.heads), "--batch", str(args.batch),
                    "--steps", str(args.steps)])
    result = json.loads(done.out.strip().splitlines()[-1])
    return {**result, **done.usage()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch, transformers, bitsandbytes, gguf")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="JSONL of packed sequences {input_ids, labels}")
    parser.add_argument("--styles", default="tuned,published")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--optim", default="adamw_8bit")
    parser.add_argument("--labels", type=int, default=100, help="percent of each sequence that is supervised")
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--output")
    args = parser.parse_args()

    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        data = sequences(args, folder)
        for number in range(args.pairs):
            pair = {"gorgon": gorgon(args, data, folder, number)}
            for style in args.styles.split(","):
                pair[style] = peer(args, data, style)
            pairs.append(pair)
            print(f"pair {number + 1} of {args.pairs}: " + ", ".join(
                f"{name} {value['tokens_per_s']:.0f} tokens/s, {value['tokens_per_cpu_s']:.0f} a CPU second, "
                f"{value['peak_rss_bytes'] / 2**30:.2f} GiB, others took {100 * value['share_of_other_programs']:.0f} %"
                for name, value in pair.items()), file=sys.stderr)
    ratios = {style: {
        "speed": statistics.median(p["gorgon"]["tokens_per_s"] / p[style]["tokens_per_s"] for p in pairs),
        "speed_by_cpu_time": statistics.median(
            p["gorgon"]["tokens_per_cpu_s"] / p[style]["tokens_per_cpu_s"] for p in pairs),
        "memory": statistics.median(p["gorgon"]["peak_rss_bytes"] / p[style]["peak_rss_bytes"] for p in pairs),
    } for style in args.styles.split(",")}
    if "tuned" in ratios:
        for name in ["prefill_tokens_per_s", "prefill_tokens_per_cpu_s"]:
            ratios["tuned"][name] = statistics.median(p["gorgon"][name] / p["tuned"][name] for p in pairs)
    write_result(args.output, {"ratios": ratios, "pairs": pairs})
    for style, ratio in ratios.items():
        print(f"gorgon / {style} PyTorch: {ratio['speed']:.2f} x tokens/s, {ratio['speed_by_cpu_time']:.2f} x by CPU time, {100 * ratio['memory']:.0f} % of the memory")


if __name__ == "__main__":
    main()
