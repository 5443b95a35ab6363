// The format: u64 length of the header, the header (a JSON object, tensor name -> dtype, shape, data_offsets;
// "__metadata__" -> strings), the bytes of the tensors without gaps
// (https://github.com/huggingface/safetensors#format).
#include "data/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>

#include "data/json.h"

namespace gorgon {

static_assert(std::endian::native == std::endian::little, "containers are read as they lie in memory");

namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr int kMaxDepth = 8;
constexpr size_t kMaxValues = 500'000;  // six or more for each tensor; keeps a hostile header's tree small
constexpr std::string_view kMetadata = "__metadata__";

struct TypeName {
  std::string_view text;
  DType type;
};
constexpr std::array<TypeName, 7> kTypeNames = {{{"F32", DType::f32},
                                                 {"F16", DType::f16},
                                                 {"BF16", DType::bf16},
                                                 {"I8", DType::i8},
                                                 {"U8", DType::u8},
                                                 {"I32", DType::i32},
                                                 {"I64", DType::i64}}};

// Where an error is, and how it is raised.
struct Source {
  const std::string& file;
  ExitCode code;

  [[noreturn]] void error(const std::string& tensor, const std::string& expected, const std::string& found,
                          const std::string& remedy = "") const {
    fail(code, {file, tensor.empty() ? "" : quote_value(tensor), expected, found, remedy});
  }
};

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t d : shape) text += (text.size() == 1 ? "" : ", ") + std::to_string(d);
  return text + "]";
}

std::string text_of(uint64_t begin, uint64_t end) {
  return "[" + std::to_string(begin) + ", " + std::to_string(end) + ")";
}

DType parse_type(const Json& fields, const std::string& tensor, const Source& source) {
  const auto found = fields.find("dtype");
  std::string expected = "dtype as one of";
  for (const TypeName& t : kTypeNames) expected += " " + std::string(t.text);
  if (found == fields.end()) source.error(tensor, expected, "none");
  if (!found->is_string()) source.error(tensor, expected, quote_value(found->type_name()));
  const auto& text = found->get_ref<const std::string&>();
  for (const TypeName& t : kTypeNames) {
    if (t.text == text) return t.type;
  }
  source.error(tensor, expected, quote_value(text), "convert the tensor to a supported type");
}

// The integers >= 0 of an array.
std::vector<int64_t> parse_integers(const Json& fields, const char* key, const std::string& tensor,
                                    const Source& source) {
  const auto found = fields.find(key);
  const std::string expected = std::string(key) + " as an array of integers from 0";
  if (found == fields.end()) source.error(tensor, expected, "none");
  if (!found->is_array()) source.error(tensor, expected, found->type_name());
  std::vector<int64_t> values;
  for (const Json& item : *found) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      source.error(tensor, expected,
                   item.is_structured() ? item.type_name() : quote_value(item.dump(-1, ' ', true)));
    }
    values.push_back(item.get<int64_t>());
  }
  return values;
}

// Bytes that shape and type ask for; false on overflow of 63 bits.
bool bytes_needed(const std::vector<int64_t>& shape, DType type, uint64_t& bytes) {
  int64_t n = traits(type).block_bytes;
  bytes = 0;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  for (const int64_t d : shape) {
    if (__builtin_mul_overflow(n, d, &n)) return false;
  }
  bytes = static_cast<uint64_t>(n);
  return true;
}

TensorEntry parse_entry(const Json& fields, const std::string& tensor, std::span<const std::byte> data,
                        const Source& source) {
  if (!fields.is_object())
    source.error(tensor, "an object of dtype, shape and data_offsets", fields.type_name());
  TensorEntry entry;
  entry.type = parse_type(fields, tensor, source);
  entry.shape = parse_integers(fields, "shape", tensor, source);
  const std::vector<int64_t> offsets = parse_integers(fields, "data_offsets", tensor, source);
  if (offsets.size() != 2) source.error(tensor, "two data_offsets", std::to_string(offsets.size()));
  const auto begin = static_cast<uint64_t>(offsets[0]);
  const auto end = static_cast<uint64_t>(offsets[1]);
  if (begin > end) source.error(tensor, "data_offsets in ascending order", text_of(begin, end));
  if (end > data.size()) {
    source.error(tensor,
                 "data_offsets within the file's " + std::to_string(data.size()) + " bytes of tensors",
                 text_of(begin, end), "the file is truncated; fetch it again");
  }
  uint64_t needed = 0;
  if (!bytes_needed(entry.shape, entry.type, needed)) {
    source.error(tensor, "a shape whose size fits 63 bits", text_of(entry.shape));
  }
  if (needed != end - begin) {
    source.error(
        tensor, std::to_string(needed) + " bytes for " + std::string(name(entry.type)) + text_of(entry.shape),
        std::to_string(end - begin));
  }
  entry.bytes = data.subspan(begin, end - begin);
  return entry;
}

// Tensors must follow each other without a gap or an overlap and end where the file ends.
void check_layout(const Safetensors& file, std::span<const std::byte> data, const Source& source) {
  struct Piece {
    uint64_t begin, end;
    const std::string* tensor;
  };
  std::vector<Piece> pieces;
  for (const auto& [tensor, entry] : file.tensors) {
    const auto begin = static_cast<uint64_t>(entry.bytes.data() - data.data());
    pieces.push_back({begin, begin + entry.bytes.size(), &tensor});
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  Piece last{0, 0, nullptr};
  for (const Piece& piece : pieces) {
    if (piece.begin != last.end) {
      const std::string before = last.tensor == nullptr
                                     ? "at 0"
                                     : "at " + std::to_string(last.end) + ", behind " +
                                           quote_value(*last.tensor) + " " + text_of(last.begin, last.end);
      source.error(*piece.tensor, "data_offsets that start " + before,
                   text_of(piece.begin, piece.end) + (piece.begin < last.end ? " (overlap)" : " (gap)"));
    }
    last = piece;
  }
  if (last.end != data.size()) {
    source.error("", std::to_string(last.end) + " bytes of tensors",
                 std::to_string(data.size()) + " (trailing bytes)", "fetch the file again");
  }
}

}  // namespace

Safetensors parse_safetensors(std::span<const std::byte> bytes, const std::string& file, ExitCode code) {
  const Source source{file, code};
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) {
    fail(code, {at_byte(file, 0), "header length", "8 bytes", std::to_string(bytes.size()),
                "the file is truncated; fetch it again"});
  }
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  const uint64_t most = std::min<uint64_t>(kMaxHeaderBytes, bytes.size() - sizeof header_bytes);
  if (header_bytes > most) {
    fail(code, {at_byte(file, 0), "header length",
                "at most " + std::to_string(most) + " bytes in a file of " + std::to_string(bytes.size()),
                std::to_string(header_bytes), "the file is truncated or not safetensors; fetch it again"});
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + sizeof header_bytes,
                                header_bytes);
  const Json json = parse_json(header, {.file = file,
                                        .base = sizeof header_bytes,
                                        .code = code,
                                        .max_depth = kMaxDepth,
                                        .max_values = kMaxValues,
                                        .reject_duplicate_keys = true});
  if (!json.is_object()) {
    fail(code, {at_byte(file, sizeof header_bytes), "header", "an object", json.type_name(), ""});
  }
  const std::span<const std::byte> data = bytes.subspan(sizeof header_bytes + header_bytes);
  Safetensors result;
  for (const auto& [tensor, fields] : json.items()) {
    if (tensor != kMetadata) {
      result.tensors.emplace(tensor, parse_entry(fields, tensor, data, source));
      continue;
    }
    if (!fields.is_object()) source.error(tensor, "an object of strings", fields.type_name());
    for (const auto& [key, value] : fields.items()) {
      if (!value.is_string()) source.error(tensor, "a string for " + quote_value(key), value.type_name());
      result.metadata.emplace(key, value.get<std::string>());
    }
  }
  check_layout(result, data, source);
  return result;
}

std::string safetensors_header(const std::vector<SafetensorsOutput>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json[std::string(kMetadata)] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsOutput& tensor : tensors) {
    const auto type = std::find_if(kTypeNames.begin(), kTypeNames.end(),
                                   [&](const TypeName& t) { return t.type == tensor.type; });
    uint64_t bytes = 0;
    require(type != kTypeNames.end(), "write_safetensors", "a type that safetensors does not hold");
    require(bytes_needed(tensor.shape, tensor.type, bytes), "write_safetensors", "a shape beyond 63 bits");
    json[tensor.name] = {
        {"dtype", type->text}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors start aligned
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsOutput>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::set<std::string_view> names;
  for (const SafetensorsOutput& tensor : tensors) {
    require(names.insert(tensor.name).second, "write_safetensors", "two tensors of one name");
  }
  const std::string header = safetensors_header(tensors, metadata);
  write_atomically(path, [&](int descriptor) {
    write_all(descriptor, header.data(), header.size(), path);
    for (const SafetensorsOutput& tensor : tensors) {
      const std::span<const std::byte> bytes = tensor.bytes();
      uint64_t needed = 0;
      require(bytes_needed(tensor.shape, tensor.type, needed) && bytes.size() == needed, "write_safetensors",
              "a tensor of another size than its shape");
      write_all(descriptor, bytes.data(), bytes.size(), path);
    }
  });
}

}  // namespace gorgon
