#!/usr/bin/env python3
"""The peer on a GPU: the steps of bench/peer_pytorch.py over a model of random weights in the sizes of gorgon_gpu_bench.

Uses transformers (sdpa), bitsandbytes' AdamW8bit and Liger's fused linear cross-entropy where they are, plain PyTorch otherwise;
the result says which.
  published: one sequence at a time, logits of all heads in f32, nine top-k calls a head, as the public trainer does
  tuned: the largest micro-batch that fits, rows without a target dropped, backbone and heads compiled, fused linear
         cross-entropy behind the ResBlock
What does not fit into --seconds is left out and said.

  python bench/peer_pytorch_gpu.py --model zephyr-7b --style tuned --output peer.json
"""
import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {
    "zephyr-7b": (4096, 32, 14336, 32, 8, 32000),
    "llama-3-8b": (4096, 32, 14336, 32, 8, 128256),
    "smollm2-135m": (576, 30, 1536, 9, 3, 49152),
    "tiny": (64, 2, 96, 4, 2, 512),
}
IGNORE = -100


class Layer(nn.Module):
    """A Llama layer in plain PyTorch, for machines without transformers."""

    def __init__(self, hidden, intermediate, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads, self.dim = heads, kv_heads, hidden // heads
        self.norm1, self.norm2 = nn.RMSNorm(hidden, 1e-5), nn.RMSNorm(hidden, 1e-5)
        self.qkv = nn.Linear(hidden, (heads + 2 * kv_heads) * self.dim, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * intermediate, bias=False)
        self.down = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x, cos, sin):
        b, s, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).split([self.heads * self.dim, self.kv_heads * self.dim, self.kv_heads * self.dim], -1)
        q, k, v = (t.view(b, s, -1, self.dim).transpose(1, 2) for t in (q, k, v))

        def turn(t):
            first, second = t.chunk(2, -1)
            return t * cos + torch.cat((-second, first), -1) * sin

        mixed = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True, enable_gqa=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, s, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class PlainModel(nn.Module):
    def __init__(self, hidden, layers, intermediate, heads, kv_heads, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleList(Layer(hidden, intermediate, heads, kv_heads) for _ in range(layers))
        self.norm = nn.RMSNorm(hidden, 1e-5)
        self.dim = hidden // heads

    def forward(self, tokens):
        x = self.embedding(tokens)
        place = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32)
        angle = torch.outer(place, 10000.0 ** (-torch.arange(0, self.dim, 2, device=tokens.device) / self.dim)).repeat(1, 2)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


def make_backbone(name, device):
    hidden, layers, intermediate, heads, kv_heads, vocabulary = SIZES[name]
    with torch.device(device):
        previous = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            try:
                import transformers

                config = transformers.LlamaConfig(
                    hidden_size=hidden, num_hidden_layers=layers, intermediate_size=intermediate, num_attention_heads=heads,
                    num_key_value_heads=kv_heads, vocab_size=vocabulary, use_cache=False, attn_implementation="sdpa")
                model = transformers.LlamaModel(config)
                version = "transformers " + transformers.__version__
                run = lambda tokens: model(input_ids=tokens)[0]  # noqa: E731
            except ImportError:
                model = PlainModel(*SIZES[name])
                version, run = "plain PyTorch", model
            lm_head = torch.randn(vocabulary, hidden) * 0.02
        finally:
            torch.set_default_dtype(previous)
    model.eval().requires_grad_(False)
    return run, model.layers, lm_head, version


class Head(nn.Module):
    def __init__(self, lm_head):
        super().__init__()
        hidden = lm_head.shape[1]
        self.block = nn.Linear(hidden, hidden, dtype=lm_head.dtype, device=lm_head.device)
        nn.init.zeros_(self.block.weight)
        nn.init.zeros_(self.block.bias)
        self.linear = nn.Linear(hidden, lm_head.shape[0], bias=False, dtype=lm_head.dtype, device=lm_head.device)
        with torch.no_grad():
            self.linear.weight.copy_(lm_head)

    def features(self, x):
        return x + F.silu(self.block(x))

    def forward(self, x):
        return self.linear(self.features(x))


def make_optimizer(heads, device):
    parameters = [p for head in heads for p in head.parameters()]
    try:
        if device == "cpu":
            raise ImportError("its eight-bit kernels are CUDA's")
        import bitsandbytes as bnb

        return bnb.optim.AdamW8bit(parameters, lr=1e-4, weight_decay=0.0), "bitsandbytes " + bnb.__version__ + " AdamW8bit"
    except Exception:  # not there, or not for this GPU
        return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True), "torch AdamW (fused)"


def make_loss(compiled):
    """(function of a head, states, targets; name). Liger's never keeps the logits."""
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        fused = LigerFusedLinearCrossEntropyLoss()
        return (lambda head, x, t: fused(head.linear.weight, head.features(x), t)), "Liger fused linear cross-entropy"
    except Exception:
        def loss(head, x, t):
            return F.cross_entropy(head(x).float(), t)

        if compiled:
            return torch.compile(loss, dynamic=True), "torch cross-entropy, compiled with the head"
        return loss, "torch cross-entropy"


def shifted(labels, k):
    out = torch.full_like(labels, IGNORE)
    out[:, : labels.shape[1] - 1 - k] = labels[:, 1 + k:]
    return out


def step_published(run, lm_head, heads, batch, labels, loss_of, micro_batch):
    for i in range(batch.shape[0]):
        with torch.no_grad():
            hidden = run(batch[i: i + 1])
            F.linear(hidden, lm_head)
        logits = torch.stack([head(hidden) for head in heads]).float()
        loss = 0.0
        for k in range(len(heads)):
            target = shifted(labels[i: i + 1], k + 1).reshape(-1)
            flat = logits[k].reshape(-1, logits.shape[-1])
            loss = loss + 0.1 * F.cross_entropy(flat, target, ignore_index=IGNORE)
            keep = target != IGNORE
            for n in range(1, 10):
                flat[keep].topk(n, dim=-1).indices.eq(target[keep, None]).any(-1).float().mean()
        (loss / batch.shape[0]).backward()


def step_tuned(run, lm_head, heads, batch, labels, loss_of, micro_batch):
    with torch.no_grad():
        states = torch.cat([run(part) for part in batch.split(micro_batch)]).reshape(-1, lm_head.shape[1])
    for k, head in enumerate(heads):
        target = shifted(labels, k + 1).reshape(-1)
        keep = (target != IGNORE).nonzero().squeeze(1)
        for part in keep.split(8192):
            loss = loss_of(head, states[part], target[part]) * (0.1 * part.numel() / keep.numel())
            loss.backward()


def one_step(step, optimizer, heads, *arguments):
    step(*arguments)
    torch.nn.utils.clip_grad_norm_([p for h in heads for p in h.parameters()], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure(args, run, lm_head, heads, optimizer, loss_of, tokens, length, share):
    """(tokens per second, sequences a micro-batch): the median of the timed steps."""
    step = step_published if args.style == "published" else step_tuned
    count = max(tokens // length, 1)
    batch = torch.randint(0, lm_head.shape[0], (count, length), device=args.device)
    labels = batch.clone()
    labels[:, : int((1 - share) * length)] = IGNORE
    micro_batch = 1 if args.style == "published" else count
    while True:
        try:
            times = []
            for _ in range(args.steps + 2):  # the first compiles, the second finds its memory
                synchronize(args.device)
                begin = time.perf_counter()
                one_step(step, optimizer, heads, run, lm_head, heads, batch, labels, loss_of, micro_batch)
                synchronize(args.device)
                times.append(time.perf_counter() - begin)
            return batch.numel() / statistics.median(times[2:]), micro_batch
        except torch.OutOfMemoryError:
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            if micro_batch == 1:
                raise
            micro_batch = (micro_batch + 1) // 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SIZES), required=True)
    parser.add_argument("--style", choices=["published", "tuned"], default="tuned")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a shape, after two that are not counted")
    parser.add_argument("--seconds", type=float, default=600, help="no shape is begun later")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try the script")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    torch.manual_seed(1)
    run, layers, lm_head, backbone_name = make_backbone(args.model, args.device)
    heads = [Head(lm_head) for _ in range(5)]
    optimizer, optimizer_name = make_optimizer(heads, args.device)
    tuned = args.style == "tuned"
    loss_of, loss_name = make_loss(tuned and args.device == "cuda") if tuned else (None, "torch cross-entropy")
    if tuned and args.device == "cuda":
        for layer in layers:  # one by one: the code of the first serves all
            layer.compile()
    lines = []
    for tokens in (64,) if args.model == "tiny" else (4096, 16384):
        for length, share in ((256, 1.0), (256, 0.25), (1024, 1.0), (2048, 1.0)):
            length = min(length, tokens)
            line = {"what": "peer", "model": args.model, "style": args.style, "tokens": tokens, "length": length,
                    "supervised_share": share, "backbone": backbone_name, "optimizer": optimizer_name,
                    "loss": loss_name, "torch": torch.__version__}
            if time.monotonic() > end:
                line["not_measured"] = "out of time"
            else:
                try:
                    line["tokens_per_s"], line["micro_batch"] = measure(
                        args, run, lm_head, heads, optimizer, loss_of, tokens, length, share)
                except torch.OutOfMemoryError:
                    line["not_measured"] = "out of memory"
            print(json.dumps(line), file=sys.stderr)
            lines.append(line)
            with open(args.output + ".new", "w", encoding="utf-8") as file:
                json.dump(lines, file)
            os.replace(args.output + ".new", args.output)


if __name__ == "__main__":
    main()
