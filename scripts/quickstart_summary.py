#!/usr/bin/env python3
"""What the quickstart's heads gain, in a few lines, from the reports of `gorgon eval` in bf16 and in f32.

usage: quickstart_summary.py EVAL.json EVAL-F32.json

Plain decoding in bf16 takes turns with the drafts, over the same prompts. The fastest plain decoding is that or the one in
f32, whichever gave more tokens per second; both multiply the model's 4-bit blocks as they are stored.
"""
import json
import sys

with open(sys.argv[1]) as file:
    measured = json.load(file)
with open(sys.argv[2]) as file:
    exact = json.load(file)

plain, heads = measured["plain"], measured["medusa"]
fastest = max((measured, exact), key=lambda report: report["plain"]["tokens_per_s"])
rates = ", ".join(f"{report['dtype']} {report['plain']['tokens_per_s']:.1f}" for report in (measured, exact))
parts = {part: 1000 * seconds for part, seconds in heads["step_parts_s"].items()}
most = 1 + len(measured["heads"])

print(f"exact match in f32: {100 * exact['exact_match']:.0f} % of {exact['prompts']} answers")
print(f"speed-up over plain decoding, same weights and precision ({measured['dtype']}): {heads['speedup']:.2f} "
      f"({heads['tokens_per_s']:.1f} against {plain['tokens_per_s']:.1f} tokens/s)")
print(f"speed-up over the fastest plain decoding here ({fastest['dtype']}): "
      f"{heads['tokens_per_s'] / fastest['plain']['tokens_per_s']:.2f} (plain tokens/s: {rates})")
print(f"without training, by prompt lookup: {measured['lookup']['speedup']:.2f}; heads and lookup in one tree: "
      f"{measured['both']['speedup']:.2f}")
print(f"what limits it: of the {most} tokens that a step can give {heads['tau']:.2f} are right, and a step takes as long as "
      f"{heads['overhead']:.2f} plain ones (model {parts['backbone']:.1f} ms, heads {parts['heads']:.1f} ms, "
      f"rest {parts['rest']:.1f} ms)")
