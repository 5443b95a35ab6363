#!/usr/bin/env python3
"""Losses of two runs, step by step; status 1 where any differs by more than a bound.

usage: compare_losses.py RUN/metrics.jsonl OTHER/metrics.jsonl BOUND      BOUND: |a - b| / |a| of every loss, head by head
"""
import json
import sys


def steps_of(path):
    with open(path) as file:
        return [line for line in map(json.loads, file) if "grad_norm" in line]


first, second, bound = steps_of(sys.argv[1]), steps_of(sys.argv[2]), float(sys.argv[3])
if not first or len(first) != len(second):
    sys.exit(f"{len(first)} steps and {len(second)}")
worst = 0.0
for a, b in zip(first, second):
    pairs = [(a["loss"], b["loss"]), *zip(a["heads"], b["heads"])]
    worst = max([worst, *(abs(x - y) / abs(x) for x, y in pairs)])
    print(f"  step {a['step']}: loss {a['loss']:.7f} and {b['loss']:.7f}, gradient norm {a['grad_norm']:.6f} and {b['grad_norm']:.6f}")
print(f"  losses differ by {worst:.1e} at most, {bound:.0e} may be")
sys.exit(worst > bound)
