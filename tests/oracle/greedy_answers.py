"""Greedy answers of transformers' generate() to thirty prompts, for tests/model/greedy_answers_test.cpp.

transformers 5.23.0, PyTorch 2.15.0, gguf; SmolLM2-135M-Instruct (Q4_1 GGUF), dequantised to f32, on the CPU.
python tests/oracle/greedy_answers.py models tests/golden/decoding/greedy_answers.json
"""

import json
import sys

import torch
import transformers

PROMPTS = [
    "What is the capital of France? Answer in two sentences.",
    "Write a SQL query that counts the rows of a table named ships.",
    "Name three colours.",
    "Translate to German: The house is small.",
    "def fibonacci(n):",
    "Who wrote Hamlet?",
    "What is 17 + 25?",
    "Give me a JSON object with the keys name and age.",
    "List the days of the week.",
    "Why is the sky blue?",
    "Rewrite as a question: You like tea.",
    "SELECT name FROM ships WHERE",
    "Summarise: The cat sat on the mat and slept all day.",
    "Count from 1 to 20.",
    "What does HTTP stand for?",
    "Écris une phrase en français.",
    "日本の首都はどこですか。",
    "Say hello, hello, hello, hello, hello.",
    "Explain recursion to a child.",
    "Name the planets in order.",
    "Convert to upper case: medusa heads",
    "What rhymes with light?",
    "Write a haiku about rain.",
    "What is the opposite of cold?",
    "Fix the spelling: recieve, adress, seperate",
    "How many legs has a spider?",
    "Write a regular expression for digits.",
    "Continue: a, b, c, d, e, f,",
    "Is water wet? Answer yes or no.",
    "Write one line of C++ that prints 42.",
]
CAP = 12


def main(folder, output):
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    torch.set_num_threads(2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    rows = []
    for text in PROMPTS:
        chat = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(chat, return_tensors="pt", add_special_tokens=False).input_ids
        answer = model.generate(ids, do_sample=False, max_new_tokens=CAP, eos_token_id=stop, pad_token_id=stop)
        rows.append({"prompt": ids[0].tolist(), "answer": answer[0, ids.shape[1]:].tolist()})
        print(tokenizer.decode(rows[-1]["answer"]))
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    with open(output, "w") as f:
        json.dump({"versions": versions, "cap": CAP, "stop": stop, "rows": rows}, f)


main(*sys.argv[1:])
