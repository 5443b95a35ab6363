#include "trainer/event_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <optional>

namespace gorgon {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1u) != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}

// TFRecord stores CRCs rotated and shifted, so that a CRC over a record with CRCs inside keeps its strength.
uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

template <typename T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void put_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

// Protocol buffer wire types; a field's key is number << 3 | type.
constexpr uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
constexpr uint64_t key(uint64_t number, uint64_t type) {
  return number << 3 | type;
}

void put_bytes(std::string& out, uint64_t number, std::string_view bytes) {
  put_varint(out, key(number, kBytes));
  put_varint(out, bytes.size());
  out += bytes;
}

// Reads fields of a message one after the other.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  struct Field {
    uint64_t key;
    uint64_t number;         // of varints
    std::string_view bytes;  // of everything else
  };
  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    Field field{varint(), 0, {}};
    switch (field.key & 7u) {
      case kVarint:
        field.number = varint();
        break;
      case kFixed64:
        field.bytes = take(8);
        break;
      case kFixed32:
        field.bytes = take(4);
        break;
      case kBytes:
        field.bytes = take(varint());
        break;
      default:
        rest_ = {};
        return std::nullopt;
    }
    return field;
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7fu) << shift;
      if ((byte & 0x80u) == 0) break;
    }
    return value;
  }
  std::string_view take(uint64_t count) {
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  std::string_view rest_;
};

template <typename T>
T value_of(std::string_view bytes) {
  T value{};
  if (bytes.size() >= sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::pair<std::string, float> decode_scalar(std::string_view bytes) {
  std::pair<std::string, float> scalar{};
  Fields fields(bytes);
  while (const auto field = fields.next()) {
    if (field->key == key(1, kBytes)) scalar.first = field->bytes;
    if (field->key == key(2, kFixed32)) scalar.second = value_of<float>(field->bytes);
  }
  return scalar;
}

Event decode_event(std::string_view bytes) {
  Event event;
  Fields fields(bytes);
  while (const auto field = fields.next()) {
    if (field->key == key(1, kFixed64)) event.wall_time = value_of<double>(field->bytes);
    if (field->key == key(2, kVarint)) event.step = static_cast<int64_t>(field->number);
    if (field->key == key(3, kBytes)) event.file_version = field->bytes;
    if (field->key != key(5, kBytes)) continue;
    Fields summary(field->bytes);
    while (const auto value = summary.next()) {
      if (value->key == key(1, kBytes)) event.scalars.push_back(decode_scalar(value->bytes));
    }
  }
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = crc_table();
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xffu];
  return ~crc;
}

std::string encode_event(const Event& event) {
  std::string message;
  put_varint(message, key(1, kFixed64));
  put(message, event.wall_time);
  if (event.step != 0) {
    put_varint(message, key(2, kVarint));
    put_varint(message, static_cast<uint64_t>(event.step));
  }
  if (!event.file_version.empty()) put_bytes(message, 3, event.file_version);
  std::string summary;
  for (const auto& [tag, value] : event.scalars) {
    std::string scalar;
    put_bytes(scalar, 1, tag);
    put_varint(scalar, key(2, kFixed32));
    put(scalar, value);
    put_bytes(summary, 1, scalar);
  }
  if (!summary.empty()) put_bytes(message, 5, summary);

  std::string record;
  put(record, static_cast<uint64_t>(message.size()));
  put(record, masked_crc(record));
  record += message;
  put(record, masked_crc(message));
  return record;
}

std::string first_event(double wall_time) {
  return encode_event({wall_time, 0, "brain.Event:2", {}});
}

EventPrefix read_events(std::string_view file) {
  constexpr size_t kHeader = 12, kFooter = 4;
  EventPrefix prefix;
  while (file.size() - prefix.bytes >= kHeader) {
    const std::string_view rest = file.substr(prefix.bytes);
    if (value_of<uint32_t>(rest.substr(8)) != masked_crc(rest.substr(0, 8))) break;
    const auto length = value_of<uint64_t>(rest);
    if (rest.size() < kHeader + kFooter || length > rest.size() - kHeader - kFooter) break;
    const std::string_view message = rest.substr(kHeader, length);
    if (value_of<uint32_t>(rest.substr(kHeader + length)) != masked_crc(message)) break;
    prefix.events.push_back(decode_event(message));
    prefix.bytes += kHeader + length + kFooter;
  }
  return prefix;
}

}  // namespace gorgon
