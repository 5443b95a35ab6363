#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gorgon {

// TensorBoard's event files: records in TFRecord framing (length, masked CRC-32C of the length, data, masked
// CRC-32C of the data; all little-endian) that hold `Event` protocol buffers
// (tensorflow/core/util/event.proto). Only what scalars need.
struct Event {
  double wall_time = 0;  // seconds since 1970
  int64_t step = 0;
  std::string file_version;                            // of a file's first record: "brain.Event:2"
  std::vector<std::pair<std::string, float>> scalars;  // tag, value
};

std::string encode_event(const Event& event);  // one framed record
std::string first_event(double wall_time);     // the record that opens a file

// Reads a file back, for tests and checks: the events of the longest prefix of whole, undamaged records.
struct EventPrefix {
  std::vector<Event> events;
  size_t bytes = 0;  // of the prefix
};
EventPrefix read_events(std::string_view file);

uint32_t crc32c(std::string_view bytes);  // Castagnoli polynomial, reflected

}  // namespace gorgon
