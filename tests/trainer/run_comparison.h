#pragma once

#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

namespace gorgon {

// metrics.jsonl but for the one number that is a time.
std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run);

// Expects the finished runs, their checkpoints of step `steps`, metrics and events to be equal to the byte
// but for times.
void expect_same_run(const std::filesystem::path& run, const std::filesystem::path& reference, int steps);

}  // namespace gorgon
