"""Golden numbers of tests/trainer/head_forms_test.cpp: heads of every form trained for a few steps.

Plain PyTorch in f32, autograd, torch.optim.AdamW and clip_grad_norm_; no trick of the trainer is repeated here.
Made with PyTorch 2.15 on a CPU:  python tests/oracle/head_forms.py tests/golden/head_forms
"""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, silu

HIDDEN, VOCABULARY, ROWS, HEADS, RANK, STEPS = 32, 96, 70, 2, 4, 6
COEFFICIENT, DECAY, MAX_NORM, LEARNING_RATE = 0.3, 0.8, 0.05, 0.01


class Head(torch.nn.Module):
    def __init__(self, form, layers, w0, a):
        super().__init__()
        self.weight = torch.nn.ParameterList([torch.zeros(HIDDEN, HIDDEN) for _ in range(layers)])
        self.bias = torch.nn.ParameterList([torch.zeros(HIDDEN) for _ in range(layers)])
        self.form, self.w0 = form, w0
        if form == "own":
            self.linear = torch.nn.Parameter(w0.clone())
        if form == "lowrank":
            self.a = torch.nn.Parameter(a.clone())
            self.b = torch.nn.Parameter(torch.zeros(len(w0), RANK))

    def forward(self, x):
        for weight, bias in zip(self.weight, self.bias):
            x = x + silu(x @ weight.T + bias)
        if self.form == "own":
            return x @ self.linear.T
        return x @ self.w0.T if self.form == "shared" else x @ (self.w0 + self.b @ self.a).T

    def tensors(self, k):
        layers = len(self.weight)
        named = {}
        for l in range(layers):
            named[f"{k}.{l}.linear.weight"] = self.weight[l]
            named[f"{k}.{l}.linear.bias"] = self.bias[l]
        if self.form == "own":
            named[f"{k}.{layers}.weight"] = self.linear
        if self.form == "lowrank":
            named[f"{k}.{layers}.A"] = self.a
            named[f"{k}.{layers}.B"] = self.b
        return named


def train(form, layers, ids, lm_head, hidden, targets, a):
    """ids: kept tokens, ascending. A target outside has no loss; it counts as a miss."""
    column = torch.full((VOCABULARY,), -1)
    column[ids] = torch.arange(len(ids))
    heads = [Head(form, layers, lm_head[ids], a[k]) for k in range(HEADS)]
    parameters = [p for head in heads for p in head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0, foreach=False)
    steps = []
    for s in range(STEPS):
        optimizer.zero_grad()
        total, means, top1, outside = 0.0, [], [], []
        for k, head in enumerate(heads):
            has = targets[s, :, k] >= 0
            label = column[targets[s, has, k]]
            logits = head(hidden[s, has])
            inside = label >= 0
            mean = cross_entropy(logits[inside], label[inside])
            total = total + COEFFICIENT * DECAY ** (k + 1) * mean
            means.append(mean.item())
            top1.append((logits.argmax(-1) == label).sum().item())
            outside.append((~inside).sum().item())
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
        steps.append({"loss": total.item(), "heads": means, "top1": top1, "outside": outside, "grad_norm": norm.item()})
    return steps, {name: t.detach().clone() for k, head in enumerate(heads) for name, t in head.tensors(k).items()}


def main():
    out = Path(sys.argv[1])
    torch.manual_seed(5)
    torch.use_deterministic_algorithms(True)
    lm_head = 0.5 * torch.randn(VOCABULARY, HIDDEN)
    hidden = torch.randn(STEPS, ROWS, HIDDEN)
    targets = torch.randint(0, VOCABULARY, (STEPS, ROWS, HEADS))
    targets[torch.rand(STEPS, ROWS, HEADS) < 0.2] = -100
    a = (torch.rand(HEADS, RANK, HIDDEN) * 2 - 1) / HIDDEN ** 0.5
    kept = torch.sort(torch.randperm(VOCABULARY)[:61]).values
    tensors = {"lm_head": lm_head, "hidden": hidden, "targets": targets.int(), "A": a, "vocab_ids": kept.int()}
    runs = {}
    for form in ("own", "shared", "lowrank"):
        for vocabulary, ids in (("full", torch.arange(VOCABULARY)), ("pruned", kept)):
            for layers in (1, 2):
                name = f"{form}-{vocabulary}-{layers}"
                runs[name], final = train(form, layers, ids, lm_head, hidden, targets, a)
                tensors |= {f"{name}/{key}": value for key, value in final.items()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, out / "tensors.safetensors")
    options = {"coefficient": COEFFICIENT, "decay": DECAY, "max_norm": MAX_NORM, "learning_rate": LEARNING_RATE,
               "rank": RANK, "heads": HEADS}
    (out / "steps.json").write_text(json.dumps({"torch": torch.__version__, "options": options, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
