#!/usr/bin/env python3
"""Writes the reference implementation's published tree for a 7B model, as `gorgon` reads it, to
tests/golden/decoding/mc_sim_7b_63.json: a list of rank paths in the order of the source.

usage: medusa_choices.py MEDUSA/medusa/model/medusa_choices.py > tests/golden/decoding/mc_sim_7b_63.json
Last run: the reference implementation at its commit 11af0aa, 63 paths.
"""
import ast
import json
import sys

for statement in ast.parse(open(sys.argv[1], encoding="utf-8").read()).body:
    if isinstance(statement, ast.Assign) and statement.targets[0].id == "mc_sim_7b_63":
        print(json.dumps([list(path) for path in ast.literal_eval(statement.value)]))
