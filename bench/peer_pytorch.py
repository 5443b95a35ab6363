#!/usr/bin/env python3
"""The peer: Medusa-1 heads trained with PyTorch + transformers + bitsandbytes on the same sequences.

  --style published   as the public recipe writes it: base logits of the whole model, all heads' logits at once, float32
                      cross-entropy over [K, B, S, V], nine top-k calls per head and micro-batch for logging, one backward per micro-batch
  --style tuned       what an expert would make of it: backbone without lm_head under inference_mode and as one batch, supervised
                      rows only, one head at a time (forward, loss, backward, free), hits from one top-k

Needs PyTorch, transformers, gguf and, for the 8-bit optimizer, bitsandbytes (whose CPU build may lack it; then torch's AdamW
runs and the result says so). Input: JSONL of {"input_ids": [...], "labels": [...]}, one packed sequence a line.

  python bench/peer_pytorch.py --model models/SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl --style tuned --steps 4
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import transformers  # noqa: E402

IGNORE = -100


class ResBlock(nn.Module):
    def __init__(self, hidden, dtype):
        super().__init__()
        self.linear = nn.Linear(hidden, hidden, dtype=dtype)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x):
        return x + F.silu(self.linear(x))


class Head(nn.Module):
    def __init__(self, lm_head, dtype):
        super().__init__()
        vocabulary, hidden = lm_head.shape
        self.block = ResBlock(hidden, dtype)
        self.linear = nn.Linear(hidden, vocabulary, bias=False, dtype=dtype)
        with torch.no_grad():
            self.linear.weight.copy_(lm_head)

    def forward(self, x):
        return self.linear(self.block(x))


def make_optimizer(name, heads, lr):
    parameters = [p for head in heads for p in head.parameters()]
    if name == "adamw_fused":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0, fused=True), "torch AdamW (fused)"
    if name == "adamw_8bit":
        try:
            import bitsandbytes as bnb

            optimizer = bnb.optim.AdamW8bit(parameters, lr=lr, weight_decay=0.0)
            probe = nn.Parameter(torch.zeros(64, 128, dtype=parameters[0].dtype))
            trial = bnb.optim.AdamW8bit([probe], lr=lr)
            probe.grad = torch.ones_like(probe)
            trial.step()
            return optimizer, "bitsandbytes " + bnb.__version__ + " AdamW8bit"
        except Exception as error:  # the CPU build of bitsandbytes has no 8-bit optimizer
            print(f"peer: bitsandbytes cannot run here ({type(error).__name__}: {error}); torch AdamW instead", file=sys.stderr)
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0, foreach=True), "torch AdamW (foreach)"


def shifted(labels, k):
    """Targets of head k (1..K): token t+1+k at position t. [B, S] -> [B, S]"""
    out = torch.full_like(labels, IGNORE)
    out[:, : labels.shape[1] - 1 - k] = labels[:, 1 + k :]
    return out


def step_published(model, heads, batch, labels, coefficient, accumulation):
    """One micro-batch at a time, every logit of every head alive until backward."""
    total = 0.0
    for i in range(accumulation):
        tokens, label = batch[i : i + 1], labels[i : i + 1]
        with torch.no_grad():
            outputs = model.model(input_ids=tokens)
            hidden = outputs[0]
            model.lm_head(hidden)  # the recipe computes the base model's logits and does not use them
        logits = torch.stack([head(hidden) for head in heads]).float()
        loss = 0.0
        for k in range(len(heads)):
            target = shifted(label, k + 1).reshape(-1)
            flat = logits[k].reshape(-1, logits.shape[-1])
            loss = loss + coefficient * F.cross_entropy(flat, target, ignore_index=IGNORE)
            keep = target != IGNORE
            for n in range(1, 10):
                flat[keep].topk(n, dim=-1).indices.eq(target[keep, None]).any(-1).float().mean()
        (loss / accumulation).backward()
        total += float(loss.detach()) / accumulation
    return total, None


def step_tuned(model, heads, batch, labels, coefficient, accumulation):
    """All sequences as one batch, one head's logits alive at a time, only supervised rows."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        states = model.model(input_ids=batch)[0].reshape(-1, model.config.hidden_size)
    prefill = (time.perf_counter() - begin, time.process_time() - begin_cpu)
    states = states.clone()
    total = 0.0
    for k, head in enumerate(heads):
        target = shifted(labels, k + 1).reshape(-1)
        keep = (target != IGNORE).nonzero().squeeze(1)
        rows = states if keep.numel() == target.numel() else states[keep]
        logits = head(rows)
        loss = coefficient * F.cross_entropy(logits.float(), target[keep])
        loss.backward()
        with torch.no_grad():
            logits.topk(5, dim=-1).indices.eq(target[keep, None]).any(-1).float().mean()
        total += float(loss.detach())
        del logits, loss
    return total, prefill


def load_model(path, dtype):
    """The frozen model, and the versions of what runs it."""
    location = {"gguf_file": os.path.basename(path)} if path.endswith(".gguf") else {}
    folder = os.path.dirname(os.path.abspath(path)) if location else path
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa", **location)
    model.eval().requires_grad_(False)
    model.config.use_cache = False
    return model, {"torch": torch.__version__, "transformers": transformers.__version__}


def read_sequences(path, limit):
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows.append((row["input_ids"], row.get("labels", row["input_ids"])))
            if len(rows) == limit:
                break
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="GGUF file or Hugging Face directory")
    parser.add_argument("--data", required=True)
    parser.add_argument("--style", choices=["published", "tuned"], default="tuned")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--optim", choices=["adamw_8bit", "adamw"], default="adamw_8bit")
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="sequences a step")
    parser.add_argument("--steps", type=int, default=4, help="timed steps, after one that is not counted")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--coefficient", type=float, default=0.1)
    parser.add_argument("--max-grad-norm", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", help="JSON file; default: standard output")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(42)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    model, versions = load_model(args.model, dtype)
    heads = nn.ModuleList(Head(model.lm_head.weight, dtype) for _ in range(args.heads))
    optimizer, optimizer_name = make_optimizer(args.optim, heads, args.lr)
    step = step_published if args.style == "published" else step_tuned

    sequences = read_sequences(args.data, args.batch * (args.steps + 1))
    if len(sequences) < args.batch * 2:
        sys.exit(f"peer: {args.data} has {len(sequences)} sequences; at least {args.batch * 2} are needed")
    seconds, cpu_seconds, tokens, losses, prefills = [], [], [], [], []
    for start in range(0, len(sequences) - args.batch + 1, args.batch):
        chunk = sequences[start : start + args.batch]
        batch = torch.tensor([tokens_ for tokens_, _ in chunk])
        labels = torch.tensor([labels_ for _, labels_ in chunk])
        begin, begin_cpu = time.perf_counter(), time.process_time()
        loss, prefill = step(model, heads, batch, labels, args.coefficient, args.batch)
        losses.append(loss)
        prefills.append(prefill)
        torch.nn.utils.clip_grad_norm_(heads.parameters(), args.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - begin_cpu)
        tokens.append(batch.numel())
    timed = sorted(t / s for t, s in zip(tokens[1:], seconds[1:]))
    result = {
        "peer": "pytorch", "style": args.style, "dtype": args.dtype, "optimizer": optimizer_name, "heads": args.heads,
        "threads": args.threads, "tokens_per_s": timed[len(timed) // 2], "tokens_per_s_all": timed,
        "tokens_per_cpu_s": statistics.median(t / s for t, s in zip(tokens[1:], cpu_seconds[1:])), "losses": losses,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": versions,
    }
    if prefills[0] is not None:  # the backbone alone
        result["prefill_tokens_per_s"] = statistics.median(t / p[0] for t, p in zip(tokens[1:], prefills[1:]))
        result["prefill_tokens_per_cpu_s"] = statistics.median(t / p[1] for t, p in zip(tokens[1:], prefills[1:]))
    text = json.dumps(result)
    if args.output:
        with open(args.output, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
