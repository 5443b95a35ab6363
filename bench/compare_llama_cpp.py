#!/usr/bin/env python3
"""Greedy decoding of one prompt after the other: gorgon beside llama-cpp-python on the same GGUF file, prompts, number of tokens
and threads, in interleaved rounds. Prompts are evaluated before the clock starts on both sides.

Writes one JSON file: the command, the machine, versions, every round and the median of the ratios.

  python bench/compare_llama_cpp.py --gorgon build/trainer/gorgon --python /path/to/venv/bin/python \\
      --model models/SmolLM2-135M-Instruct.Q4_1.gguf --heads runs/quickstart --output bench/results/plain_decoding_llama_cpp.json
"""
import argparse
import json
import os
import re
import statistics
import sys

from measuring import run, write_result

PROMPTS = ["Tell me a long story about a dog.", "Explain in detail how rain forms.", "Write a letter to a friend about your holidays.",
           "Describe the history of the bicycle."]

PEER = r"""
import json, sys, time
import llama_cpp
from llama_cpp import Llama
import numpy as np
model, prompts, tokens, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
llama = Llama(model, n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)
count, seconds, texts = 0, 0.0, []
for prompt in prompts:
    text = "<|im_start|>user\n" + prompt + "<|im_end|>\n<|im_start|>assistant\n"
    llama.reset()
    llama.eval(llama.tokenize(text.encode(), add_bos=False, special=True))
    ids, vocabulary = [], llama.n_vocab()
    start = time.perf_counter()
    while True:
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(llama._ctx.ctx, -1), shape=(vocabulary,))
        ids.append(int(np.argmax(logits)))
        if len(ids) == tokens or ids[-1] == llama.token_eos():
            break
        batch = llama_cpp.llama_batch_get_one((llama_cpp.llama_token * 1)(ids[-1]), 1)
        if llama_cpp.llama_decode(llama._ctx.ctx, batch) != 0:
            sys.exit("llama_decode failed")
    seconds += time.perf_counter() - start
    count += len(ids)
    texts.append(llama.detokenize(ids).decode(errors="replace")[:60])
print(json.dumps({"tokens": count, "tokens_per_s": count / seconds, "version": llama_cpp.__version__, "starts": texts}))
"""


def gorgon(args):
    """`generate --compare` also decodes plainly and prints the tokens and the speed of that."""
    tokens, seconds, texts = 0, 0.0, []
    for prompt in PROMPTS:
        done = run([args.gorgon, "generate", args.heads, "--model", args.model, "--prompt", prompt, "--compare",
                    "--max-new-tokens", str(args.tokens), "--dtype", args.dtype])
        found = re.search(r"plain\s*: (\d+) tokens in \d+ steps, [\d.]+ a step, ([\d.]+) tokens/s", done.out)
        tokens += int(found.group(1))
        seconds += int(found.group(1)) / float(found.group(2))
        texts.append(done.out[:60])
    return {"tokens": tokens, "tokens_per_s": tokens / seconds, "starts": texts}


def peer(args):
    return json.loads(run([args.python, "-c", PEER, args.model, json.dumps(PROMPTS), str(args.tokens), str(args.threads)]).out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gorgon", default="build/trainer/gorgon")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with llama-cpp-python and numpy")
    parser.add_argument("--model", required=True)
    parser.add_argument("--heads", required=True, help="any trained heads of the model; they are not timed")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16", help="of gorgon")
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of an answer")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of llama.cpp; gorgon takes all cores")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output")
    args = parser.parse_args()

    rounds = []
    for number in range(args.rounds):
        rounds.append({"gorgon": gorgon(args), "llama_cpp": peer(args)})
        pair = rounds[-1]
        print(f"round {number + 1}: gorgon {pair['gorgon']['tokens_per_s']:.1f}, llama.cpp {pair['llama_cpp']['tokens_per_s']:.1f} "
              "tokens/s", file=sys.stderr)
    ratios = [pair["gorgon"]["tokens_per_s"] / pair["llama_cpp"]["tokens_per_s"] for pair in rounds]
    ratio = statistics.median(ratios)
    write_result(args.output, {"ratio": ratio, "ratios": ratios, "rounds": rounds})
    print(f"gorgon / llama.cpp: {ratio:.2f} x tokens/s (median of {args.rounds} rounds)")


if __name__ == "__main__":
    main()
