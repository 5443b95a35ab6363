"""One tiny Llama in the three containers that Gorgon reads, and numbers to compare with.

Writes under tests/golden/containers:
    tiny_hf/           config.json, model.safetensors in F32
    tiny_sharded/      config.json, model.safetensors.index.json and three shards in BF16
    tiny.gguf          matrices in F16, rows of q and k permuted as GGUF's exporters do
    expected.json      fingerprints of the three, and rotary frequencies of transformers for several scalings
All weights are multiples of 1/64 below 2, so that F32, BF16 and F16 hold the same values. transformers itself reads
tiny.gguf back here, which checks the permutation. Made with transformers 5.23.0, torch 2.15.0, gguf 0.19.0,
safetensors 0.8.0; run from the root of the repository:
    python3 tests/oracle/make_tiny_containers.py
"""

import hashlib
import json
import os
import shutil

import gguf
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

FOLDER = "tests/golden/containers"
CONFIG = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, head_dim=8, max_position_embeddings=128, rms_norm_eps=1e-5,
              tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 5000.0})
GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
              "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
SCALINGS = {
    "default": dict(rope_type="default", rope_theta=10000.0),
    "linear": dict(rope_type="linear", rope_theta=10000.0, factor=4.0),
    "llama3": dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=8192),
}


def make_weights():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG))
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randint(-64, 65, p.shape, generator=generator) / 64.0 for name, p in model.state_dict().items()}


def write_config(folder, dtype):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    config = LlamaConfig(**CONFIG, architectures=["LlamaForCausalLM"], dtype=dtype)
    config.save_pretrained(folder)


def write_sharded(weights, folder):
    names = sorted(weights)
    weight_map = {}
    for i in range(3):
        part = names[i::3]
        file = f"model-{i + 1:05}-of-00003.safetensors"
        save_file({n: weights[n].to(torch.bfloat16) for n in part}, f"{folder}/{file}", metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    with open(f"{folder}/model.safetensors.index.json", "w") as out:
        json.dump({"metadata": {"total_size": sum(2 * w.numel() for w in weights.values())},
                   "weight_map": weight_map}, out, indent=1)


def gguf_name(name):
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"


def permute(weight, heads):
    """Rows i and i + d/2 of each head become neighbours."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(weights, path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_key_length(CONFIG["head_dim"])
    writer.add_value_length(CONFIG["head_dim"])
    writer.add_rope_dimension_count(CONFIG["head_dim"])
    writer.add_rope_freq_base(CONFIG["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_vocab_size(CONFIG["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    tokens = [chr(ord("0") + i) for i in range(CONFIG["vocab_size"])]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges([])
    for name, weight in weights.items():
        data = weight.numpy()
        if "q_proj" in name:
            data = permute(data, CONFIG["num_attention_heads"])
        if "k_proj" in name:
            data = permute(data, CONFIG["num_key_value_heads"])
        writer.add_tensor(gguf_name(name), data.astype(np.float32 if data.ndim == 1 else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def fingerprint(tensors):
    """tensors: name -> (type, shape, bytes)."""
    lines = [f"{name} {kind} {' '.join(map(str, shape))} {hashlib.sha256(data).hexdigest()}\n"
             for name, (kind, shape, data) in sorted(tensors.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def safetensors_tensors(folder):
    kinds = {torch.float32: "f32", torch.bfloat16: "bf16"}
    result = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".safetensors"):
            with safe_open(f"{folder}/{file}", "pt") as source:
                for name in source.keys():
                    t = source.get_tensor(name)
                    result[name] = (kinds[t.dtype], t.shape, t.contiguous().view(torch.uint8).numpy().tobytes())
    return result


def gguf_tensors(path):
    return {t.name: (t.tensor_type.name.lower(), [int(d) for d in reversed(t.shape)], t.data.tobytes())
            for t in gguf.GGUFReader(path).tensors}


def rotary_frequencies():
    result = {}
    for name, parameters in SCALINGS.items():
        config = LlamaConfig(**{**CONFIG, "head_dim": 64, "rope_parameters": parameters})
        if name == "default":
            frequencies = 1.0 / (10000.0 ** (torch.arange(0, 64, 2).double() / 64))
        else:
            frequencies, attention_factor = ROPE_INIT_FUNCTIONS[name](config, "cpu")
            assert attention_factor == 1.0
        result[name] = {"rope_parameters": parameters, "frequencies": frequencies.tolist()}
    return result


def main():
    weights = make_weights()
    write_config(f"{FOLDER}/tiny_hf", "float32")
    save_file(weights, f"{FOLDER}/tiny_hf/model.safetensors", metadata={"format": "pt"})
    write_config(f"{FOLDER}/tiny_sharded", "bfloat16")
    write_sharded(weights, f"{FOLDER}/tiny_sharded")
    write_gguf(weights, f"{FOLDER}/tiny.gguf")

    single = AutoModelForCausalLM.from_pretrained(f"{FOLDER}/tiny_hf", dtype=torch.float32).state_dict()
    back = AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file="tiny.gguf", dtype=torch.float32).state_dict()
    for name, weight in weights.items():
        assert torch.equal(weight, single[name]), name
        assert torch.equal(weight, back[name]), name

    expected = {"fingerprints": {"tiny_hf": fingerprint(safetensors_tensors(f"{FOLDER}/tiny_hf")),
                                 "tiny_sharded": fingerprint(safetensors_tensors(f"{FOLDER}/tiny_sharded")),
                                 "tiny.gguf": fingerprint(gguf_tensors(f"{FOLDER}/tiny.gguf"))},
                "rotary": rotary_frequencies()}
    with open(f"{FOLDER}/expected.json", "w") as out:
        json.dump(expected, out, indent=1)


if __name__ == "__main__":
    main()
