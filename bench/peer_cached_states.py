#!/usr/bin/env python3
"""The peer of time_to_good_heads.py: what an expert would write in PyTorch to train Medusa-1 heads from stored states.

The frozen model runs once over all sequences (bf16, right-padded batches of like length: a causal model needs no mask for them); the
states of supervised positions stay in memory. Heads are own full-vocabulary Linears in bf16, trained one at a time on supervised
rows. Saves the heads of every epoch in a directory that `gorgon eval` reads, outside the clock.

  python bench/peer_cached_states.py --model models/SmolLM2-135M-Instruct.Q4_1.gguf --data own.jsonl --epochs 4 --output runs/peer
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from peer_pytorch import IGNORE, Head, load_model, make_optimizer, read_sequences


class Watch:
    """Wall and CPU seconds since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def elapsed(self):
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def collect_states(model, sequences, heads, batch):
    """Per sequence: states [P, H] of the positions with a target, targets [P, K]."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i][0]))
    table = [None] * len(sequences)
    for begin in range(0, len(order), batch):
        group = order[begin : begin + batch]
        width = max(len(sequences[i][0]) for i in group)
        tokens = torch.zeros((len(group), width), dtype=torch.long)
        for row, i in enumerate(group):
            tokens[row, : len(sequences[i][0])] = torch.tensor(sequences[i][0])
        with torch.inference_mode():
            states = model.model(input_ids=tokens)[0]
        for row, i in enumerate(group):
            labels = torch.tensor(sequences[i][1])
            length = len(labels)
            targets = torch.full((length, heads), IGNORE)
            for k in range(heads):
                targets[: length - 2 - k, k] = labels[2 + k :]
            keep = (targets != IGNORE).any(1).nonzero().squeeze(1)
            table[i] = (states[row][keep].clone(), targets[keep])
    return table


def step(heads, optimizer, table, chosen, coefficient, max_grad_norm):
    states = torch.cat([table[i][0] for i in chosen])
    targets = torch.cat([table[i][1] for i in chosen])
    losses = []
    for k, head in enumerate(heads):
        keep = (targets[:, k] != IGNORE).nonzero().squeeze(1)
        logits = head(states[keep])
        loss = F.cross_entropy(logits.float(), targets[keep, k])
        (coefficient * loss).backward()
        losses.append(float(loss.detach()))
        del logits, loss
    torch.nn.utils.clip_grad_norm_(heads.parameters(), max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return losses


def cosine(step_number, total, warmup):
    """lambda of Hugging Face's cosine schedule with warm-up, steps from 0."""
    if step_number < warmup:
        return step_number / max(1, warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (step_number - warmup) / max(1, total - warmup))))


def save(args, heads, folder):
    os.makedirs(folder, exist_ok=True)
    tensors = {}
    for k, head in enumerate(heads):
        tensors[f"{k}.0.linear.weight"] = head.block.linear.weight.detach()
        tensors[f"{k}.0.linear.bias"] = head.block.linear.bias.detach()
        tensors[f"{k}.1.weight"] = head.linear.weight.detach()
    save_file(tensors, os.path.join(folder, "medusa_heads.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.yaml"), "w", encoding="utf-8") as file:
        file.write(f"model_path: {os.path.abspath(args.model)}\ntrain_dataset_path: {os.path.abspath(args.data)}\noutput_dir: {folder}\n"
                   f"medusa_num_heads: {args.heads}\nmax_seq_length: 512\npacking: false\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="GGUF file or Hugging Face directory")
    parser.add_argument("--data", required=True, help="JSONL of {input_ids, labels}")
    parser.add_argument("--output", required=True, help="directory; heads of epoch E go to epoch-E in it")
    parser.add_argument("--optim", choices=["adamw_8bit", "adamw", "adamw_fused"], default="adamw_fused")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8, help="sequences a step")
    parser.add_argument("--epochs", type=int, default=4, help="epochs trained")
    parser.add_argument("--schedule-epochs", type=int, help="epochs the cosine is laid out for; default: --epochs")
    parser.add_argument("--max-steps", type=int, default=0, help="stops behind so many steps: for a look at the speed")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup-ratio", type=float, default=0.03)
    parser.add_argument("--coefficient", type=float, default=0.1)
    parser.add_argument("--max-grad-norm", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(42)
    model, versions = load_model(args.model, torch.bfloat16)
    sequences = read_sequences(args.data, None)
    watch = Watch()
    table = collect_states(model, sequences, args.heads, 16)
    states_s, states_cpu_s = watch.elapsed()
    watch = Watch()
    heads = nn.ModuleList(Head(model.lm_head.weight, torch.bfloat16) for _ in range(args.heads))
    optimizer, optimizer_name = make_optimizer(args.optim, heads, args.lr)
    steps_per_epoch = math.ceil(len(sequences) / args.batch)
    total = steps_per_epoch * (args.schedule_epochs or args.epochs)
    warmup = math.ceil(total * args.warmup_ratio)
    heads_s, heads_cpu_s = watch.elapsed()
    done, shuffle, epochs = 0, random.Random(42), []
    for epoch in range(1, args.epochs + 1):
        order = list(range(len(sequences)))
        shuffle.shuffle(order)
        watch = Watch()
        for at in range(0, len(order), args.batch):
            for group in optimizer.param_groups:
                group["lr"] = args.lr * cosine(done, total, warmup)
            losses = step(heads, optimizer, table, order[at : at + args.batch], args.coefficient, args.max_grad_norm)
            done += 1
            if done == args.max_steps:
                break
        wall, cpu = watch.elapsed()
        heads_s, heads_cpu_s = heads_s + wall, heads_cpu_s + cpu
        save(args, heads, os.path.join(args.output, f"epoch-{epoch}"))
        epochs.append({"epoch": epoch, "heads_s": heads_s, "heads_cpu_s": heads_cpu_s, "losses": losses})
        if done == args.max_steps:
            break
    rows = sum(len(targets) for _, targets in table)
    print(json.dumps({"optimizer": optimizer_name, "threads": args.threads, "rows": rows, "tokens": sum(len(s[0]) for s in sequences),
                      "states_s": states_s, "states_cpu_s": states_cpu_s, "epochs": epochs, "steps": done, "versions": versions}))


if __name__ == "__main__":
    main()
