#pragma once

#include <cstddef>
#include <span>

namespace gorgon {

// One input for one reader. The reader may give a value or throw an Error with its own exit status and one
// line of ASCII; a value is then used as its callers do, and what has a writer is written again and must read
// back equal. Everything else throws std::logic_error, which the fuzzer and the replay test take for a
// failure.

void fuzz_gguf(std::span<const std::byte> bytes);
void fuzz_json(std::span<const std::byte> bytes);
void fuzz_safetensors(std::span<const std::byte> bytes);

void fuzz_chat_template(std::span<const std::byte> bytes);
void fuzz_encode(std::span<const std::byte> bytes);  // text, by three tokenizers
void fuzz_tokenizer_json(std::span<const std::byte> bytes);

void fuzz_jsonl(std::span<const std::byte> bytes);
// As it is: a file that is no data set of gorgon's, or a damaged one, must not reach the HDF5 library.
void fuzz_dataset_file(std::span<const std::byte> bytes);
// cache.h5, as it is and with the sum of its first lines made right.
void fuzz_state_cache(std::span<const std::byte> bytes);

void fuzz_model_config(std::span<const std::byte> bytes);  // config.json of a Hugging Face directory
void fuzz_shard_index(std::span<const std::byte> bytes);   // model.safetensors.index.json of one
void fuzz_tree_file(std::span<const std::byte> bytes);

void fuzz_yaml_config(std::span<const std::byte> bytes);
// manifest.json of a checkpoint, as it is and with its own sum made right; state.json.
void fuzz_manifest(std::span<const std::byte> bytes);
// An event file, and a record with right sums that holds the bytes.
void fuzz_event_file(std::span<const std::byte> bytes);

}  // namespace gorgon
