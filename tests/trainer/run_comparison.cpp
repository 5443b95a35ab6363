#include "tests/trainer/run_comparison.h"

#include <fstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/trainer/program.h"
#include "trainer/event_file.h"
#include "trainer/reports.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// state.json but for byte offsets, which depend on how many digits a time has.
json state_of(const fs::path& checkpoint) {
  json state = json::parse(file_text(checkpoint / "state.json"));
  state.erase("metrics_bytes");
  state.erase("event_bytes");
  return state;
}

std::vector<std::pair<int64_t, std::vector<std::pair<std::string, float>>>> events_of(const fs::path& run) {
  const std::string file = file_text(run / kEventFile);
  const EventPrefix prefix = read_events(file);
  EXPECT_EQ(prefix.bytes, file.size());
  std::vector<std::pair<int64_t, std::vector<std::pair<std::string, float>>>> events;
  for (const Event& event : prefix.events) {
    events.emplace_back(event.step, event.scalars);
    std::erase_if(events.back().second,
                  [](const auto& scalar) { return scalar.first == "train/tokens_per_s"; });
  }
  return events;
}

}  // namespace

std::vector<json> metrics_of(const fs::path& run) {
  std::vector<json> lines;
  std::ifstream in(run / kMetricsFile);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(json::parse(line));
    lines.back().erase("tokens_per_s");
  }
  return lines;
}

void expect_same_run(const fs::path& run, const fs::path& reference, int steps) {
  const std::string last = "checkpoint-" + std::to_string(steps);
  for (const std::string& file : {std::string("medusa_heads.safetensors"), std::string("config.json"),
                                  last + "/medusa_heads.safetensors", last + "/optimizer.safetensors"}) {
    ASSERT_FALSE(file_text(reference / file).empty()) << file;
    EXPECT_TRUE(file_text(run / file) == file_text(reference / file)) << file << " differs";
  }
  EXPECT_EQ(state_of(run / last), state_of(reference / last));
  EXPECT_EQ(metrics_of(run), metrics_of(reference));
  EXPECT_EQ(events_of(run), events_of(reference));
}

}  // namespace gorgon
