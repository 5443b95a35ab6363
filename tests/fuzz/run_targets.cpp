#include <bit>

#include "data/file.h"
#include "data/json.h"
#include "tests/data/temporary_directory.h"
#include "tests/fuzz/oracle.h"
#include "tests/fuzz/targets.h"
#include "trainer/checkpoint.h"
#include "trainer/event_file.h"
#include "trainer/run_config.h"

namespace gorgon {
namespace {

void check_config_file(const std::string& text) {
  const RunConfig config = parse_config(text, "input", {}).config;
  const std::string written = to_yaml(config);
  const RunConfig back = parse_config(written, "again", {}).config;
  check(to_yaml(back) == written && differing_keys(config, back).empty(),
        "a configuration differs after writing and reading");
}

// The text with the sum that makes verify_checkpoint look further; "" where it is no JSON object.
std::string sealed_manifest(const std::string& text) {
  Json manifest = Json::parse(text, nullptr, false);
  if (!manifest.is_object()) return "";
  manifest.erase("sha256");
  manifest["sha256"] = sha256_of(manifest.dump(1));
  return manifest.dump(1) + "\n";
}

void verify_manifest(const TemporaryDirectory& checkpoint, const std::string& text) {
  checkpoint.write("manifest.json", text);
  accept_errors({ExitCode::checkpoint}, [&] { verify_checkpoint(checkpoint.path()); });
}

std::string bytes_of_number(auto value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// One record of TFRecord's framing.
std::string record_of(const std::string& message) {
  const auto sum = [](const std::string& bytes) {
    return bytes_of_number(std::rotr(crc32c(bytes), 15) + 0xa282ead8u);
  };
  const std::string length = bytes_of_number(static_cast<uint64_t>(message.size()));
  return length + sum(length) + message + sum(message);
}

void check_events(const std::string& file) {
  const EventPrefix prefix = read_events(file);
  check(prefix.bytes <= file.size(), "more bytes than there are");
  std::string again;
  for (const Event& event : prefix.events) again += encode_event(event);
  const EventPrefix back = read_events(again);
  check(back.bytes == again.size() && back.events.size() == prefix.events.size(), "an event is lost");
  std::string third;
  for (const Event& event : back.events) third += encode_event(event);
  check(third == again, "an event differs after writing and reading");
}

}  // namespace

void fuzz_yaml_config(std::span<const std::byte> bytes) {
  accept_errors({ExitCode::config}, [&] { check_config_file(text_of(bytes)); });
}

void fuzz_manifest(std::span<const std::byte> bytes) {
  static const TemporaryDirectory checkpoint;
  checkpoint.write("heads", "weights");
  const std::string text = text_of(bytes);
  verify_manifest(checkpoint, text);
  const std::string sealed = sealed_manifest(text);
  if (!sealed.empty()) verify_manifest(checkpoint, sealed);
  accept_errors({ExitCode::checkpoint}, [&] {
    const TrainingState state = parse_training_state(text, "input");
    check(to_json(parse_training_state(to_json(state), "again")) == to_json(state),
          "a state differs after writing and reading");
  });
}

void fuzz_event_file(std::span<const std::byte> bytes) {
  check_events(text_of(bytes));
  check_events(record_of(text_of(bytes)));
}

}  // namespace gorgon
