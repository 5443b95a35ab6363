#!/usr/bin/env python3
"""Steps of bitsandbytes' AdamW8bit on CUDA, with the state each begins from: what gorgon_gpu_bench compares its own steps with.

  python tests/oracle/adamw_cuda.py steps.bin && gorgon_gpu_bench result.json 60 bitsandbytes=steps.bin

The file: i64 elements, steps, bf16 (0 or 1); then for every step the gradient, and parameter, codes of both states and their absmax
before and after it. --device cpu tries the script alone: on a CPU bitsandbytes quantises through a coarser table and is no oracle.
"""
import argparse
import struct

import bitsandbytes as bnb
import torch

ELEMENTS, STEPS, LR, DECAY = 20000, 20, 1e-3, 0.01  # the same in gpu_bitsandbytes.cpp


def dump(file, *tensors):
    for t in tensors:
        file.write(t.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())


def states(optimizer, p):
    s = optimizer.state[p]
    return s["state1"], s["state2"], s["absmax1"], s["absmax2"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = parser.parse_args()
    torch.manual_seed(5)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    p = torch.nn.Parameter((torch.randn(ELEMENTS) * 0.02).to(args.device, dtype))
    optimizer = bnb.optim.AdamW8bit([p], lr=LR, weight_decay=DECAY)
    p.grad = torch.randn_like(p) * 1e-3
    optimizer.step()  # makes the states
    with open(args.output, "wb") as file:
        file.write(struct.pack("<qqq", ELEMENTS, STEPS, int(args.dtype == "bf16")))
        for _ in range(STEPS):
            p.grad = (torch.randn(ELEMENTS) * 10 ** (torch.rand(ELEMENTS) * 4 - 5)).to(args.device, dtype)
            dump(file, p.grad, p, *states(optimizer, p))
            optimizer.step()
            dump(file, p, *states(optimizer, p))
    print("bitsandbytes", bnb.__version__, "torch", torch.__version__, args.device)


if __name__ == "__main__":
    main()
