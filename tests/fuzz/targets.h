#pragma once

#include <cstddef>
#include <span>

namespace gorgon {

// What is run on hostile bytes, by libFuzzer and by the replay of kept inputs. Each either reads the bytes
// into a value, all of which is then touched (and written and read again where there is a writer), or meets a
// typed Error of the status given to the parser. Anything else, a difference after the round trip too, throws
// or crashes.
void fuzz_gguf(std::span<const std::byte> bytes);
void fuzz_json(std::span<const std::byte> bytes);
void fuzz_safetensors(std::span<const std::byte> bytes);
void fuzz_tokenizer_json(std::span<const std::byte> bytes);
void fuzz_encode(std::span<const std::byte> bytes);
void fuzz_chat_template(std::span<const std::byte> bytes);

}  // namespace gorgon
