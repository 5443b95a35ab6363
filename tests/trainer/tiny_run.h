#pragma once

#include <filesystem>
#include <string>

namespace gorgon {

// A whole training run in miniature, written into `folder`: a random Llama of two layers (hidden 32,
// vocabulary 536) as a Hugging Face directory `model` with a real byte-level tokenizer and a chat template,
// chats `train.jsonl` and `eval.jsonl`, and `run.yaml` (two heads, bf16, 8-bit AdamW, shuffled, eight steps)
// whose output_dir is `run`.
void write_tiny_run(const std::filesystem::path& folder);

// Overwrites the model's last norm: 3e38 makes states overflow.
void write_final_norm(const std::filesystem::path& folder, float value);

// `count` chats of few words, a different one for each number.
std::string tiny_chats(int first, int count);

}  // namespace gorgon
