#!/usr/bin/env python3
"""Weights as bitsandbytes stores and restores them: tests/golden/quantise/*.bin, bf16 bits of a [72, 256] matrix each.

weight.bin       the matrix: normal numbers of a layer's size, one row of zeros, some outliers
nf4.bin          quantize_4bit(quant_type nf4, blocksize 64) and back
nf4_double.bin   the same with compress_statistics: 8-bit absmax in blocks of 256 behind their mean, to the nearest value of
                 bitsandbytes' map as its CUDA kernel does it (its CPU library goes through a coarser table)
int8.bin         rows to int8 by their absmax (LLM.int8(), without outlier columns) and back

bitsandbytes 0.50.2, torch 2.x, on the CPU.   python tests/oracle/quantise.py
"""
import pathlib

import bitsandbytes as bnb
import bitsandbytes.functional as F
import torch

out = pathlib.Path(__file__).resolve().parent.parent / "golden" / "quantise"
out.mkdir(parents=True, exist_ok=True)


def save(name, tensor):
    tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tofile(out / name)


torch.manual_seed(7)
weight = torch.randn(72, 256) * 0.02
weight[5] = 0
weight[11, ::37] *= 20
weight[40:44] *= 0.01
weight = weight.to(torch.bfloat16)
save("weight.bin", weight)
codes, state = F.quantize_4bit(weight, blocksize=64, compress_statistics=False, quant_type="nf4")
save("nf4.bin", F.dequantize_4bit(codes, state))
offset, table = state.absmax.mean(), F.create_dynamic_map()
pieces = []
for piece in (state.absmax - offset).split(256):
    largest = piece.abs().max()
    nearest = (piece[:, None] / largest - table[None, :]).abs().argmin(1)
    pieces.append(table[nearest] * largest + offset)
state.absmax = torch.cat(pieces)
save("nf4_double.bin", F.dequantize_4bit(codes, state))
codes, statistics, _ = F.int8_vectorwise_quant(weight.to(torch.float16))
save("int8.bin", F.int8_vectorwise_dequant(codes, statistics))
print("bitsandbytes", bnb.__version__, "torch", torch.__version__)
