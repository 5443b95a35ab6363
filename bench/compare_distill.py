#!/usr/bin/env python3
"""The model's own greedy answers to the prompts of a file: `gorgon distill` (16 at a time) beside transformers' generate() in batches
of 16 (sorted by length, padded on the left), on the same model file, prompts, cap and cores, in interleaved rounds.

gorgon's time is that of the whole process, loading included; the peer's that of generate() alone. Token ids are compared; a row may
differ where the type's rounding decides.

  python bench/compare_distill.py --gorgon build/trainer/gorgon --python /path/to/venv/bin/python \\
      --model models/SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl --output bench/results/distill_transformers.json
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

from measuring import run, write_result

PEER = r"""
import json, os, sys, time
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch, transformers
model_path, rows_path, cap, dtype, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
torch.set_num_threads(threads)
folder, name = os.path.split(os.path.abspath(model_path))
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=getattr(torch, {"f32": "float32"}.get(dtype, "bfloat16")))
stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
prompts = [json.loads(line) for line in open(rows_path)]
order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
answers = [None] * len(prompts)
start = time.perf_counter()
with torch.inference_mode():
    for begin in range(0, len(order), batch):
        group = order[begin:begin + batch]
        width = max(len(prompts[i]) for i in group)
        ids = torch.full((len(group), width), stop)
        mask = torch.zeros((len(group), width), dtype=torch.long)
        for row, i in enumerate(group):
            ids[row, width - len(prompts[i]):] = torch.tensor(prompts[i])
            mask[row, width - len(prompts[i]):] = 1
        out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=cap, eos_token_id=stop, pad_token_id=stop)
        for row, i in enumerate(group):
            answer = out[row, width:].tolist()
            answers[i] = answer[:answer.index(stop) + 1] if stop in answer else answer
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "tokens": sum(map(len, answers)), "answers": answers,
                  "versions": {"transformers": transformers.__version__, "torch": torch.__version__}}))
"""


def gorgon(args, data, folder, number):
    config, output = os.path.join(folder, "distill.yaml"), os.path.join(folder, f"own{number}.jsonl")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"model_path: {os.path.abspath(args.model)}\ntrain_dataset_path: {data}\noutput_dir: {folder}/run\n"
                   f"bf16: {'true' if args.dtype == 'bf16' else 'false'}\ndevice: cpu\n")
    done = run([args.gorgon, "distill", config, "--output", output, "--max-new-tokens", str(args.tokens)])
    prompts, answers = [], []
    with open(output, encoding="utf-8") as file:
        for row in map(json.loads, file):
            length = sum(1 for label in row["labels"] if label == -100)
            prompts.append(row["input_ids"][:length])
            answers.append(row["input_ids"][length:])
    return {"seconds": done.seconds, "tokens": sum(map(len, answers))}, prompts, answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch, transformers, gguf")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="JSONL of messages")
    parser.add_argument("--limit", type=int, default=64, help="prompts")
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of an answer")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--batch", type=int, default=16, help="of the peer; gorgon's is 16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output")
    args = parser.parse_args()

    threads, rounds, versions = len(os.sched_getaffinity(0)), [], {}
    with tempfile.TemporaryDirectory() as folder:
        data, rows = os.path.join(folder, "prompts.jsonl"), os.path.join(folder, "ids.jsonl")
        with open(args.data, encoding="utf-8") as source, open(data, "w", encoding="utf-8") as out:
            out.writelines(line for line, _ in zip(source, range(args.limit)))
        for number in range(args.rounds):
            ours, prompts, answers = gorgon(args, data, folder, number)
            with open(rows, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(prompt) + "\n" for prompt in prompts)
            peer = json.loads(run([args.python, "-c", PEER, args.model, rows, str(args.tokens), args.dtype, str(args.batch), str(threads)]).out)
            same, versions = sum(a == b for a, b in zip(answers, peer.pop("answers"))), peer.pop("versions")
            rounds.append({"gorgon": ours, "transformers": peer, "same_answers": same, "prompts": len(prompts)})
            print(f"round {number + 1}: gorgon {ours['seconds']:.1f} s, transformers {peer['seconds']:.1f} s, {same} of {len(prompts)} "
                  "answers are the same", file=sys.stderr)
    ratios = [r["transformers"]["seconds"] / r["gorgon"]["seconds"] for r in rounds]
    ratio = statistics.median(ratios)
    write_result(args.output, {"versions": versions, "ratio": ratio, "ratios": ratios, "rounds": rounds})
    print(f"gorgon / transformers: {ratio:.2f} times as fast (median of {args.rounds} rounds)")


if __name__ == "__main__":
    main()
