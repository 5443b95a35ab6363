#!/usr/bin/env python3
"""What the quickstart's heads gain, in four lines, from the reports of `gorgon eval` in bf16 and in f32.

usage: quickstart_summary.py EVAL.json EVAL-F32.json
"""
import json
import sys

with open(sys.argv[1]) as file:
    measured = json.load(file)
with open(sys.argv[2]) as file:
    exact = json.load(file)

plain, heads = measured["plain"], measured["medusa"]
fastest = max((measured, exact), key=lambda report: report["plain"]["tokens_per_s"])
gain = heads["tokens_per_s"] / plain["tokens_per_s"]
parts = {part: 1000 * seconds for part, seconds in heads["step_parts_s"].items()}

print(f"exact match in f32: {100 * exact['exact_match']:.0f} % of {exact['prompts']} answers")
print(f"speed-up over plain decoding, same weights and precision ({measured['dtype']}): "
      f"{gain:.2f} "
      f"({heads['tokens_per_s']:.1f} against {plain['tokens_per_s']:.1f} tokens/s)")
print(f"speed-up over the fastest plain decoding here ({fastest['dtype']}): "
      f"{heads['tokens_per_s'] / fastest['plain']['tokens_per_s']:.2f}")
print(f"what limits it: a step gives {heads['tau']:.2f} tokens and takes as long as {heads['tau'] / gain:.2f} plain steps "
      f"(model {parts['backbone']:.1f} ms, heads {parts['heads']:.1f} ms)")
