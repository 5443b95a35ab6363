#!/usr/bin/env python3
"""Makes tests/golden/tiny_models/: tiny random Llama and Mistral models with what PyTorch computes on them.

Each folder holds config.json and model.safetensors as transformers saves them, and expected.json with, per token
list, all final states (after the last norm) and the logits of the last position, computed in f32 with eager
attention. Weights are drawn wider than an initialisation's, so that attention is not uniform and a wrong mask or
rotation shows.

Made with transformers 5.23.0, PyTorch 2.15.0 (CPU). Usage: make_tiny_models.py [OUTPUT]
"""
import json
import pathlib
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

COMMON = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=96, max_position_embeddings=256,
              rms_norm_eps=1e-5, attn_implementation="eager")
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=64)
MODELS = {
    # ratio of query to key heads 1, tied
    "llama_tied": (LlamaConfig, LlamaForCausalLM,
                   dict(num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True)),
    # ratio 2, own lm_head, larger theta
    "llama_untied": (LlamaConfig, LlamaForCausalLM,
                     dict(num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
                          rope_parameters=dict(rope_type="default", rope_theta=100000.0))),
    # ratio 4, head_dim other than hidden_size / heads
    "llama_head_dim": (LlamaConfig, LlamaForCausalLM,
                       dict(num_attention_heads=4, num_key_value_heads=1, head_dim=12, tie_word_embeddings=True)),
    "llama_rope3": (LlamaConfig, LlamaForCausalLM,
                    dict(num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
                         rope_parameters=LLAMA3_ROPE)),
    # window far shorter than the sequences
    "mistral_window": (MistralConfig, MistralForCausalLM,
                       dict(num_attention_heads=4, num_key_value_heads=2, sliding_window=7, tie_word_embeddings=False)),
}


def make(name, output):
    config_class, model_class, options = MODELS[name]
    torch.manual_seed(sum(name.encode()))
    model = model_class(config_class(**COMMON, **options)).eval().float()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" in parameter_name:
                parameter.normal_(1.0, 0.2)
            else:
                parameter.normal_(0.0, 0.25)
    model.tie_weights()
    model.save_pretrained(output, safe_serialization=True)
    (output / "generation_config.json").unlink(missing_ok=True)
    cases = []
    for length in (1, 5, 90):
        ids = torch.randint(0, COMMON["vocab_size"], (1, length))
        with torch.no_grad():
            states = model.model(ids).last_hidden_state[0]
            logits = model.lm_head(states[-1])
        cases.append(dict(input_ids=ids[0].tolist(), states=[[float(f"{x:.8g}") for x in row] for row in states.tolist()],
                          last_logits=[float(f"{x:.8g}") for x in logits.tolist()]))
    (output / "expected.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "golden/tiny_models")
    for model_name in MODELS:
        folder = root / model_name
        folder.mkdir(parents=True, exist_ok=True)
        make(model_name, folder)
        print(model_name, sum(f.stat().st_size for f in folder.iterdir()))
