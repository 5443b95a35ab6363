#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/file.h"
#include "kernels/dtype.h"
#include "kernels/error.h"

namespace gorgon {

// One tensor of a container file: a checked slice of its bytes. Block-quantised types have whole blocks along
// the last dimension.
struct TensorEntry {
  DType type;
  std::vector<int64_t> shape;  // outermost first, as PyTorch prints it
  std::span<const std::byte> bytes;
};

// Read side of the safetensors format. Everything in the header is checked against RELIABILITY's list
// (lengths, UTF-8, duplicates, offsets, overflow, gaps, trailing bytes) before the first tensor is handed
// out.
struct Safetensors {
  std::map<std::string, TensorEntry> tensors;  // slices of the bytes given to parse_safetensors
  std::map<std::string, std::string> metadata;
};
Safetensors parse_safetensors(std::span<const std::byte> bytes, const std::string& file,
                              ExitCode code = ExitCode::model);

// Write side. Tensors are written in the order given; the header is padded to 8 bytes.
struct SafetensorsOutput {
  std::string name;
  DType type;
  std::vector<int64_t> shape;
  std::function<std::span<const std::byte>()> bytes;  // called once, when its turn comes
};
void write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsOutput>& tensors,
                       const std::map<std::string, std::string>& metadata);
// All that lies in front of the tensors' bytes; `bytes` is not called.
std::string safetensors_header(const std::vector<SafetensorsOutput>& tensors,
                               const std::map<std::string, std::string>& metadata);

}  // namespace gorgon
