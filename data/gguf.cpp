// Layout: magic "GGUF", u32 version, u64 tensors, u64 keys; the keys (string, u32 type, value); the tensors
// (string name, u32 dimensions, u64 each (innermost first), u32 type, u64 offset); padding to the alignment;
// the tensors' bytes. A string is a u64 length and its bytes.
#include "data/gguf.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace gorgon {

namespace {

constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxNameBytes = 65535;  // of keys and tensors
constexpr uint64_t kMaxEntries = 1 << 16;  // keys or tensors; the largest models have a few thousand
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMaxDimensions = 4;
constexpr std::string_view kTruncated = "the file is truncated or damaged; fetch it again";

enum ValueType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean_type,
  string_type,
  array,
  u64,
  i64,
  f64,
  end_of_types
};

// Bytes of a value of a fixed size; 0 for strings and arrays.
uint64_t size_of(uint32_t type) {
  constexpr std::array<uint8_t, end_of_types> kSizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kSizes[type];
}

struct TensorType {
  uint32_t number;
  DType type;
};
constexpr std::array<TensorType, 14> kTensorTypes = {{{0, DType::f32},
                                                      {1, DType::f16},
                                                      {2, DType::q4_0},
                                                      {3, DType::q4_1},
                                                      {6, DType::q5_0},
                                                      {7, DType::q5_1},
                                                      {8, DType::q8_0},
                                                      {12, DType::q4_k},
                                                      {13, DType::q5_k},
                                                      {14, DType::q6_k},
                                                      {24, DType::i8},
                                                      {26, DType::i32},
                                                      {27, DType::i64},
                                                      {30, DType::bf16}}};

// Reads forward through the bytes; every length is compared with what remains before it is used.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  [[noreturn]] void error(uint64_t byte, const std::string& key, const std::string& expected,
                          const std::string& found, std::string_view remedy = "") const {
    fail(ExitCode::model, {at_byte(file_, byte), key, expected, found, std::string(remedy)});
  }

  std::span<const std::byte> take(uint64_t bytes, const std::string& key) {
    if (bytes > remaining()) {
      error(position_, key, std::to_string(bytes) + " bytes", std::to_string(remaining()), kTruncated);
    }
    const auto slice = bytes_.subspan(position_, bytes);
    position_ += bytes;
    return slice;
  }

  template <typename T>
  T value(const std::string& key) {
    T v;
    std::memcpy(&v, take(sizeof v, key).data(), sizeof v);
    return v;
  }

  std::string_view text(uint64_t most, const std::string& key) {
    const uint64_t start = position_;
    const auto length = value<uint64_t>(key);
    if (length > most || length > remaining()) {
      error(start, key, "a string of at most " + std::to_string(std::min(most, remaining())) + " bytes",
            std::to_string(length), kTruncated);
    }
    const auto slice = take(length, key);
    return {reinterpret_cast<const char*>(slice.data()), slice.size()};
  }

  // A count of things that take at least `least` bytes each.
  uint64_t count(const std::string& key, uint64_t least) {
    const uint64_t start = position_;
    const auto n = value<uint64_t>(key);
    if (n > remaining() / least) {
      error(start, key, "a count that fits the remaining " + std::to_string(remaining()) + " bytes",
            std::to_string(n), kTruncated);
    }
    if (n > kMaxEntries && least > 1)
      error(start, key, "at most " + std::to_string(kMaxEntries), std::to_string(n));
    return n;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& file_;
  uint64_t position_ = 0;
};

GgufArray read_array(Reader& reader, const std::string& key) {
  GgufArray result;
  const uint64_t start = reader.position();
  result.type = reader.value<uint32_t>(key);
  if (result.type >= end_of_types || result.type == array) {
    reader.error(start, key, "an array of numbers, booleans or strings",
                 result.type == array ? "an array of arrays" : "type " + std::to_string(result.type));
  }
  const uint64_t counted_at = reader.position();
  result.count = reader.value<uint64_t>(key);
  const uint64_t least = result.type == string_type ? sizeof(uint64_t) : size_of(result.type);
  if (result.count > reader.remaining() / least) {
    reader.error(counted_at, key,
                 "an array that fits the remaining " + std::to_string(reader.remaining()) + " bytes",
                 std::to_string(result.count) + " elements", kTruncated);
  }
  if (result.type != string_type) {
    result.bytes = reader.take(result.count * least, key);
    return result;
  }
  Reader scan = reader;
  for (uint64_t i = 0; i < result.count; ++i) scan.text(kMaxStringBytes, key);
  result.bytes = reader.take(scan.position() - reader.position(), key);
  return result;
}

GgufValue read_value(Reader& reader, const std::string& key) {
  const uint64_t start = reader.position();
  const auto type = reader.value<uint32_t>(key);
  GgufValue result;
  result.byte = reader.position();
  switch (type) {
    case u8:
      result.value = uint64_t{reader.value<uint8_t>(key)};
      break;
    case i8:
      result.value = int64_t{reader.value<int8_t>(key)};
      break;
    case u16:
      result.value = uint64_t{reader.value<uint16_t>(key)};
      break;
    case i16:
      result.value = int64_t{reader.value<int16_t>(key)};
      break;
    case u32:
      result.value = uint64_t{reader.value<uint32_t>(key)};
      break;
    case i32:
      result.value = int64_t{reader.value<int32_t>(key)};
      break;
    case f32:
      result.value = double{reader.value<float>(key)};
      break;
    case boolean_type: {
      const auto v = reader.value<uint8_t>(key);
      if (v > 1) reader.error(result.byte, key, "a boolean (0 or 1)", std::to_string(v));
      result.value = v == 1;
      break;
    }
    case string_type:
      result.value = std::string(reader.text(kMaxStringBytes, key));
      break;
    case array:
      result.value = read_array(reader, key);
      break;
    case u64:
      result.value = reader.value<uint64_t>(key);
      break;
    case i64:
      result.value = reader.value<int64_t>(key);
      break;
    case f64:
      result.value = reader.value<double>(key);
      break;
    default:
      reader.error(start, key, "a value type from 0 to 12", std::to_string(type));
  }
  return result;
}

void read_metadata(Reader& reader, uint64_t count, Gguf& gguf) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t start = reader.position();
    const std::string key(reader.text(kMaxNameBytes, "key " + std::to_string(i)));
    if (key.empty()) reader.error(start, "key " + std::to_string(i), "a name", "an empty one");
    if (gguf.metadata.contains(key)) reader.error(start, quote_value(key), "every key once", "a duplicate");
    gguf.metadata.emplace(key, read_value(reader, quote_value(key)));
  }
}

// A tensor's description; its place is filled in when all are known.
struct Described {
  std::string name;
  TensorEntry entry;
  uint64_t offset;  // in the data section
  uint64_t bytes;
  uint64_t byte;  // where the description lies
};

DType read_tensor_type(Reader& reader, const std::string& key) {
  const uint64_t start = reader.position();
  const auto number = reader.value<uint32_t>(key);
  std::string expected = "a type as one of";
  for (const TensorType& t : kTensorTypes) {
    if (t.number == number) return t.type;
    expected += " " + std::string(name(t.type));
  }
  reader.error(start, key, expected, "type " + std::to_string(number),
               "quantise the model to a supported type");
}

// Dimensions of the file, outermost first; the number of elements fits 63 bits.
std::vector<int64_t> read_shape(Reader& reader, const std::string& key, int64_t& elements) {
  const uint64_t start = reader.position();
  const auto rank = reader.value<uint32_t>(key);
  if (rank < 1 || rank > kMaxDimensions) {
    reader.error(start, key, "1 to " + std::to_string(kMaxDimensions) + " dimensions", std::to_string(rank));
  }
  std::vector<int64_t> shape;
  std::string text;
  elements = 1;
  bool fits = true;
  for (uint32_t i = 0; i < rank; ++i) {
    const auto d = reader.value<int64_t>(key);
    text += (i == 0 ? "[" : ", ") + std::to_string(d);
    fits = fits && d > 0 && !__builtin_mul_overflow(elements, d, &elements);
    shape.insert(shape.begin(), d);
  }
  if (!fits) reader.error(start, key, "dimensions from 1 whose product fits 63 bits", text + "]");
  return shape;
}

Described read_tensor(Reader& reader, uint64_t index) {
  Described tensor;
  tensor.byte = reader.position();
  const std::string number = "tensor " + std::to_string(index);
  tensor.name = reader.text(kMaxNameBytes, number);
  if (tensor.name.empty()) reader.error(tensor.byte, number, "a name", "an empty one");
  const std::string key = quote_value(tensor.name);
  int64_t elements = 0;
  tensor.entry.shape = read_shape(reader, key, elements);
  const uint64_t typed_at = reader.position();
  tensor.entry.type = read_tensor_type(reader, key);
  const DTypeTraits& t = traits(tensor.entry.type);
  if (const int64_t row = tensor.entry.shape.back(); row % t.block_elements != 0) {
    reader.error(typed_at, key,
                 "rows of whole " + std::string(t.name) + " blocks of " + std::to_string(t.block_elements),
                 "rows of " + std::to_string(row) + " values");
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / t.block_elements, int64_t{t.block_bytes}, &bytes)) {
    reader.error(typed_at, key, "a size that fits 63 bits", std::to_string(elements) + " values");
  }
  tensor.bytes = static_cast<uint64_t>(bytes);
  tensor.offset = reader.value<uint64_t>(key);
  return tensor;
}

uint64_t alignment_of(const Gguf& gguf, const Reader& reader) {
  const std::string key = "general.alignment";
  const auto found = gguf.metadata.find(key);
  if (found == gguf.metadata.end()) return kDefaultAlignment;
  const auto* value = std::get_if<uint64_t>(&found->second.value);
  if (value == nullptr || *value < 8 || *value > (1u << 20) || (*value & (*value - 1)) != 0) {
    reader.error(found->second.byte, key, "an unsigned power of two from 8 to 1048576",
                 value == nullptr ? "a value of another type" : std::to_string(*value));
  }
  return *value;
}

// Turns offsets into slices: aligned, within the file, no overlap.
void place_tensors(std::vector<Described> tensors, std::span<const std::byte> data, uint64_t alignment,
                   const Reader& reader, Gguf& gguf) {
  std::sort(tensors.begin(), tensors.end(),
            [](const Described& a, const Described& b) { return a.offset < b.offset; });
  const Described* last = nullptr;
  for (Described& tensor : tensors) {
    const std::string key = quote_value(tensor.name);
    if (tensor.offset % alignment != 0) {
      reader.error(tensor.byte, key, "an offset that is a multiple of " + std::to_string(alignment),
                   std::to_string(tensor.offset));
    }
    if (tensor.offset > data.size() || tensor.bytes > data.size() - tensor.offset) {
      reader.error(tensor.byte, key,
                   std::to_string(tensor.bytes) + " bytes at offset " + std::to_string(tensor.offset),
                   std::to_string(data.size()) + " bytes of tensors in the file", kTruncated);
    }
    if (last != nullptr && tensor.offset - last->offset < last->bytes) {
      reader.error(tensor.byte, key,
                   "an offset behind " + quote_value(last->name) + ", from " +
                       std::to_string(last->offset + last->bytes),
                   std::to_string(tensor.offset) + " (overlap)");
    }
    last = &tensor;
    tensor.entry.bytes = data.subspan(tensor.offset, tensor.bytes);
    if (!gguf.tensors.emplace(tensor.name, tensor.entry).second) {
      reader.error(tensor.byte, key, "every tensor once", "a duplicate");
    }
  }
}

void read_magic(Reader& reader) {
  const auto magic = reader.take(4, "magic");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    reader.error(0, "magic", "'GGUF'", quote_value({reinterpret_cast<const char*>(magic.data()), 4}),
                 "the file is no GGUF model");
  }
  const auto version = reader.value<uint32_t>("version");
  if (version == 2 || version == 3) return;
  const bool swapped = version != 0 && (version & 0xffffu) == 0;
  reader.error(4, "version", "2 or 3, little-endian", swapped ? "a big-endian file" : std::to_string(version),
               "convert the model again with a current exporter");
}

}  // namespace

Gguf parse_gguf(std::span<const std::byte> bytes, const std::string& file) {
  Gguf gguf;
  gguf.file = file;
  Reader reader(bytes, file);
  read_magic(reader);
  constexpr uint64_t kLeastTensor = 8 + 4 + 8 + 4 + 8;
  constexpr uint64_t kLeastKey = 8 + 4 + 1;
  const uint64_t tensor_count = reader.count("tensor_count", kLeastTensor);
  const uint64_t key_count = reader.count("metadata_kv_count", kLeastKey);
  read_metadata(reader, key_count, gguf);
  std::vector<Described> tensors;
  for (uint64_t i = 0; i < tensor_count; ++i) tensors.push_back(read_tensor(reader, i));
  const uint64_t alignment = alignment_of(gguf, reader);
  const uint64_t padding = (alignment - reader.position() % alignment) % alignment;
  if (!tensors.empty()) reader.take(padding, "padding");
  const auto data = bytes.subspan(reader.position());
  place_tensors(std::move(tensors), data, alignment, reader, gguf);
  return gguf;
}

}  // namespace gorgon
