"""Every GGUF weight type with the values that the gguf package reads from it.

Writes tests/golden/containers/types.gguf (one matrix [3, 512] per type) and types.safetensors (the same names,
f32). Types that the package can quantise hold quantised normal values; the K types hold random blocks with finite
scales. Made with Python 3.11, gguf 0.19.0, numpy 2.3.5 and safetensors 0.8.0; run from the root of the repository:
    python3 tests/oracle/make_gguf_types.py
"""

import os

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

FOLDER = "tests/golden/containers"
ROWS, COLUMNS = 3, 512
QUANTISED = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]
# Byte offsets of the f16 scales within a block: random bits there would make NaN and infinity.
HALF_SCALES = {Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}


def random_blocks(rng, kind):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS * COLUMNS // elements, size), dtype=np.uint8)
    for offset in HALF_SCALES[kind]:
        scales = rng.normal(0, 0.01, len(blocks)).astype(np.float16)
        scales[0] = np.float16(6e-7)  # a subnormal
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def main():
    rng = np.random.default_rng(3)
    os.makedirs(FOLDER, exist_ok=True)
    writer = gguf.GGUFWriter(f"{FOLDER}/types.gguf", "none")
    values = {}
    for kind in QUANTISED + list(HALF_SCALES):
        if kind in HALF_SCALES:
            data = random_blocks(rng, kind)
        else:
            data = gguf.quants.quantize(rng.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32), kind)
        name = kind.name.lower()
        writer.add_tensor(name, data, raw_dtype=kind)
        values[name] = np.ascontiguousarray(gguf.quants.dequantize(data, kind)).astype(np.float32)
        assert np.isfinite(values[name]).all() and values[name].shape == (ROWS, COLUMNS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(values, f"{FOLDER}/types.safetensors")


if __name__ == "__main__":
    main()
