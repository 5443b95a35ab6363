#include <algorithm>
#include <string>

#include "data/gguf.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "kernels/dequantise.h"
#include "tests/fuzz/oracle.h"
#include "tests/fuzz/targets.h"

namespace gorgon {

namespace {

constexpr ExitCode kCode = ExitCode::model;

void touch(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte b : bytes) sum += std::to_integer<unsigned>(b);
  volatile unsigned kept = sum;
  static_cast<void>(kept);
}

// The values of a weight tensor, block by block.
void decode(const TensorEntry& entry) {
  const DType type = entry.type;
  if (type == DType::i8 || type == DType::u8 || type == DType::i32 || type == DType::i64) return;
  const DTypeTraits& t = traits(type);
  const auto block_bytes = static_cast<size_t>(t.block_bytes);
  float values[256];
  for (size_t at = 0; at + block_bytes <= entry.bytes.size(); at += block_bytes) {
    dequantise_elements(type, entry.bytes.data() + at, t.block_elements, DType::f32, values);
  }
}

void touch_metadata(const Gguf& gguf) {
  for (const auto& [key, value] : gguf.metadata) {
    const std::string& k = key;
    accept_errors({kCode}, [&] { gguf.integer(k, 0, 1 << 20); });
    accept_errors({kCode}, [&] { gguf.number(k); });
    accept_errors({kCode}, [&] { gguf.string(k); });
    accept_errors({kCode}, [&] { gguf.boolean(k, false); });
    accept_errors({kCode}, [&] { gguf.strings(k); });
    accept_errors({kCode}, [&] { gguf.integers(k); });
    accept_errors({kCode}, [&] { gguf.numbers(k); });
  }
}

}  // namespace

void fuzz_gguf(std::span<const std::byte> bytes) {
  accept_errors({kCode}, [&] {
    const Gguf gguf = parse_gguf(bytes, "input");
    for (const auto& [name, entry] : gguf.tensors) {
      touch(entry.bytes);
      decode(entry);
    }
    touch_metadata(gguf);
  });
}

void fuzz_json(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const bool strict : {false, true}) {
    for (const long line : {0L, 5L}) {
      accept_errors({kCode}, [&] {
        const JsonOptions options{.file = "input",
                                  .line = line,
                                  .code = kCode,
                                  .max_values = 10000,
                                  .reject_duplicate_keys = strict};
        const Json value = parse_json(text, options);
        check(parse_json(value.dump(), options) == value, "JSON differs after writing and reading");
        for (const char* key : {"a", "shape", ""}) {
          accept_errors({kCode}, [&] { json_int(value, key, -5, 5, options); });
          accept_errors({kCode}, [&] { json_number(value, key, options); });
          accept_errors({kCode}, [&] { json_string(value, key, options); });
        }
      });
    }
  }
}

void fuzz_safetensors(std::span<const std::byte> bytes) {
  accept_errors({kCode}, [&] {
    const Safetensors file = parse_safetensors(bytes, "input", kCode);
    std::vector<SafetensorsOutput> tensors;
    for (const auto& [name, entry] : file.tensors) {
      touch(entry.bytes);
      tensors.push_back({name, entry.type, entry.shape, [slice = entry.bytes] { return slice; }});
    }
    std::string again = safetensors_header(tensors, file.metadata);
    for (const SafetensorsOutput& tensor : tensors) {
      const auto slice = tensor.bytes();
      again.append(reinterpret_cast<const char*>(slice.data()), slice.size());
    }
    const Safetensors back = parse_safetensors(std::as_bytes(std::span(again)), "again", kCode);
    check(back.metadata == file.metadata, "metadata differ after writing and reading");
    check(back.tensors.size() == file.tensors.size(), "a tensor is lost by writing and reading");
    for (const auto& [name, entry] : file.tensors) {
      const TensorEntry& other = back.tensors.at(name);
      check(other.type == entry.type && other.shape == entry.shape &&
                std::ranges::equal(other.bytes, entry.bytes),
            "a tensor differs after writing and reading");
    }
  });
}

}  // namespace gorgon
