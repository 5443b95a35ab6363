#include "trainer/reports.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/file.h"
#include "kernels/error.h"
#include "tests/data/temporary_directory.h"
#include "trainer/console.h"
#include "trainer/event_file.h"

namespace gorgon {
namespace {

using nlohmann::json;

StepRecord a_step(int64_t step) {
  StepRecord record;
  record.step = step;
  record.epoch = 0.25 * static_cast<double>(step);
  record.result.loss = 1.5;
  record.result.heads = {{8.0, 4, {1, 2, 3, 4, 4}}, {0.0, 0, {}}};
  record.result.grad_norm = 0.5;
  record.result.lr = 1e-3;
  record.rows = 4;
  record.tokens = 32;
  record.seconds = 0.5;
  return record;
}

TEST(Metrics, StepLineHasExactlyItsKeys) {
  const json line = json::parse(metrics_line(a_step(2)));
  const json expected = {{"step", 2},
                         {"epoch", 0.5},
                         {"loss", 1.5},
                         {"heads", {2.0, nullptr}},
                         {"top1", {0.25, nullptr}},
                         {"grad_norm", 0.5},
                         {"lr", 1e-3},
                         {"rows", 4},
                         {"tokens", 32},
                         {"tokens_per_s", 64.0}};
  EXPECT_EQ(line, expected);
  EXPECT_TRUE(metrics_line(a_step(2)).starts_with("{\"step\":2,\"epoch\":0.5,\"loss\":1.5,\"heads\":"));
}

TEST(Metrics, SkippedStepSaysWhichHead) {
  StepRecord record = a_step(3);
  record.result.loss = std::numeric_limits<double>::quiet_NaN();
  record.result.skipped = true;
  record.result.skipped_head = 1;
  const json line = json::parse(metrics_line(record));
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_EQ(line["skipped_head"], 2);
}

TEST(Metrics, EvaluationLineNamesItsData) {
  const json line = json::parse(
      metrics_line(EvaluationRecord{7, 1.0, "held-out", 0.5, a_step(1).result.heads, false, 1.25}));
  EXPECT_EQ(line["data"], "held-out");
  EXPECT_EQ(line["eval_loss"], 0.5);
  EXPECT_EQ(line["eval_heads"][0], 2.0);
  EXPECT_EQ(line["eval_top1"][0], 0.25);
  EXPECT_EQ(line["eval_top4"][0], 1.0);
  EXPECT_EQ(line["eval_accept_length"], 1.25);
  EXPECT_EQ(line.size(), 11u);
}

TEST(EventFile, ChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // the polynomial's published check value
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
}

TEST(EventFile, BytesAreThoseOfTensorFlow) {
  // Written with TensorBoard's own protocol buffers and record writer (tests/oracle/tensorboard_events.py).
  const std::string golden = read_text(GORGON_TEST_DATA "/tensorboard/events.bin", ExitCode::data);
  ASSERT_FALSE(golden.empty());
  std::string ours = first_event(1700000000.25);
  ours += encode_event({1700000001.5, 3, "", {{"train/loss", 1.25f}, {"train/head_1_top1", -0.5f}}});
  ours += encode_event({1700000002.0, 300, "", {{"eval/loss", 0.0f}}});
  EXPECT_EQ(ours, golden);
}

TEST(EventFile, ReadsBackWhatItWrote) {
  const std::string file =
      first_event(1.0) + encode_event({2.5, 1LL << 40, "", {{"a/b", 1.5f}, {"c", -2.0f}}});
  const EventPrefix prefix = read_events(file);
  ASSERT_EQ(prefix.events.size(), 2u);
  EXPECT_EQ(prefix.bytes, file.size());
  EXPECT_EQ(prefix.events[0].file_version, "brain.Event:2");
  EXPECT_EQ(prefix.events[1].wall_time, 2.5);
  EXPECT_EQ(prefix.events[1].step, 1LL << 40);
  EXPECT_EQ(prefix.events[1].scalars,
            (std::vector<std::pair<std::string, float>>{{"a/b", 1.5f}, {"c", -2.0f}}));
}

TEST(EventFile, EveryTruncationAndFlipLeavesAWholePrefix) {
  const std::string first = first_event(1.0);
  const std::string file = first + encode_event({2.5, 1, "", {{"a", 1.5f}}});
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_EQ(read_events(file.substr(0, length)).bytes, length < first.size() ? 0 : first.size());
  }
  for (size_t bit = first.size() * 8; bit < file.size() * 8; ++bit) {
    std::string damaged = file;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(read_events(damaged).bytes, first.size()) << bit;
  }
}

TEST(Reports, ResumeTruncatesToTheOffsetsSoThatAStepIsThereOnce) {
  const TemporaryDirectory run;
  int64_t metrics = 0, events = 0;
  {
    Reports reports(run.path(), true, 0, 0);
    for (int64_t step = 1; step <= 5; ++step) {
      reports.step(a_step(step));
      reports.step_scalars(a_step(step));
      if (step == 3) {
        metrics = reports.metrics_bytes();
        events = reports.event_bytes();
      }
    }
  }
  std::ofstream(run.path() / kMetricsFile, std::ios::app) << "{\"step\": 6, \"lo";  // killed in mid-record
  {
    Reports reports(run.path(), true, metrics, events);
    for (int64_t step = 4; step <= 6; ++step) {
      reports.step(a_step(step));
      reports.step_scalars(a_step(step));
    }
  }
  std::ifstream in(run.path() / kMetricsFile);
  std::string line;
  std::vector<int64_t> steps;
  while (std::getline(in, line)) steps.push_back(json::parse(line)["step"]);
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  steps.clear();
  const std::string file = read_text(run.path() / kEventFile, ExitCode::data);
  const EventPrefix prefix = read_events(file);
  EXPECT_EQ(prefix.bytes, file.size());
  for (const Event& event : prefix.events) steps.push_back(event.step);
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(Progress, LineFitsTheTerminal) {
  for (int width = 1; width < 120; ++width) {
    const std::string line =
        format_progress("train", 12, 276, "loss 3.2140  812 rows/s", "3m12s left", width);
    EXPECT_LT(line.size(), static_cast<size_t>(std::max(width, 2)));
  }
  const std::string line = format_progress("train", 138, 276, "loss 3.2", "3m12s left", 100);
  EXPECT_EQ(line, "train 138/276 [===============               ] loss 3.2  3m12s left");
  // Few columns: the time left is what stays.
  EXPECT_EQ(format_progress("train", 138, 276, "loss 3.2", "3m12s left", 36),
            "train 138/276  loss 3.2  3m12s left");
  EXPECT_EQ(format_progress("train", 138, 276, "loss 3.2", "3m12s left", 30), "train 138/276  3m12s left");
  EXPECT_EQ(format_duration(42), "42s");
  EXPECT_EQ(format_duration(7500), "2h05m");
  EXPECT_EQ(format_progress("caf\xc3\xa9", 1, 9, "", "", 5), "caf");  // never half a character
}

}  // namespace
}  // namespace gorgon
