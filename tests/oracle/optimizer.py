"""Golden numbers of tests/optim: code maps, torch.optim.AdamW and Hugging Face's schedules.

Made with PyTorch 2.15 and transformers 5.23 on a CPU:  python tests/oracle/optimizer.py tests/golden/optim
"""
import json
import math
import sys
from pathlib import Path

import torch
from transformers import get_scheduler


def code_map(signed):
    """The map of bitsandbytes' create_dynamic_map(signed), from its definition: midpoints of linspace."""
    values = [0.0, 1.0]
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (i if signed else i + 1) + 1, dtype=torch.float32)
        means = (10.0 ** (i - 6)) * ((edges[:-1] + edges[1:]) / 2.0)
        values += means.tolist()
        if signed:
            values += (-means).tolist()
    return sorted(values)


def adamw():
    """Eight steps over 12 numbers with decay and a gradient that jumps."""
    torch.manual_seed(1)
    start = torch.randn(12)
    gradients = [torch.randn(12) * (10.0 if s == 3 else 0.1) for s in range(8)]
    p = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([p], lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1, foreach=False)
    steps = []
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
        state = optimizer.state[p]
        steps.append({"param": p.tolist(), "momentum": state["exp_avg"].tolist(),
                      "variance": state["exp_avg_sq"].tolist()})
    return {"start": start.tolist(), "gradients": [g.tolist() for g in gradients], "steps": steps}


def schedule(name, steps, warmup, **kwargs):
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps,
                              scheduler_specific_kwargs=kwargs)
    lambdas = []
    for _ in range(steps):
        lambdas.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return {"name": name, "max_steps": steps, "warmup": warmup, "min_lr_rate": kwargs.get("min_lr_rate", 0.0),
            "lambda": lambdas}


def main():
    out = Path(sys.argv[1])
    ratio = 0.13
    schedules = [schedule("constant", 7, 3)]
    for name in ("constant_with_warmup", "linear", "cosine"):
        schedules += [schedule(name, 23, math.ceil(23 * ratio)), schedule(name, 9, 0)]
    schedules.append(schedule("cosine_with_min_lr", 23, 3, min_lr_rate=0.1))
    golden = {"versions": {"torch": torch.__version__},
              "signed": code_map(True), "unsigned": code_map(False), "adamw": adamw(), "schedules": schedules}
    (out / "optimizer.json").write_text(json.dumps(golden) + "\n")


main()
