#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/append_file.h"
#include "trainer/head_trainer.h"
#include "trainer/stragglers.h"

namespace gorgon {

// One optimizer step, for metrics.jsonl.
struct StepRecord {
  int64_t step = 0;
  double epoch = 0;  // passes over the data after this step
  StepResult result;
  int64_t rows = 0;     // P
  int64_t tokens = 0;   // in the step's sequences
  double seconds = 0;   // the step's own time
  bool pruned = false;  // medusa_vocab is not full: tell the share of targets outside
  // Seconds of work in the step, waiting for other ranks left out: this rank's, and over the ranks of a job
  // (nothing for one process).
  double worked = 0;
  std::optional<RankTimes> ranks;

  double rows_per_second() const { return seconds > 0 ? static_cast<double>(rows) / seconds : 0; }
};

// One evaluation of one data file.
struct EvaluationRecord {
  int64_t step = 0;
  double epoch = 0;
  std::string data;  // the file's name in eval_dataset_path
  double loss = 0;   // with coefficients, schedule 1
  std::vector<HeadMetrics> heads;
  bool pruned = false;
  std::optional<double> accept_length;  // tokens per step
};

// Lines of metrics.jsonl, newline included. A mean over nothing and a number that is not finite are null.
std::string metrics_line(const StepRecord& record);
std::string metrics_line(const EvaluationRecord& record);

// What the terminal shows of a step ("step 3/276  loss 3.2140 ...").
std::string log_line(const StepRecord& record, int64_t max_steps);

double mean_cross_entropy(const HeadMetrics& head);  // NaN without targets
double top_accuracy(const HeadMetrics& head,
                    int n);  // share of targets among the first n (1..5); NaN without targets
double share_outside(const std::vector<HeadMetrics>& heads);  // of all targets of all heads; 0 without any

// metrics.jsonl and, where wanted, TensorBoard's event file of a run directory.
class Reports {
 public:
  // Goes on behind the given byte offsets; 0 and 0 start anew.
  Reports(const std::filesystem::path& run, bool tensorboard, int64_t metrics_bytes, int64_t event_bytes);

  void step(const StepRecord& record);              // metrics.jsonl
  void step_scalars(const StepRecord& record);      // event file
  void evaluation(const EvaluationRecord& record);  // both
  void sync();
  int64_t metrics_bytes() const { return metrics_.bytes(); }
  int64_t event_bytes() const { return tensorboard_ ? events_.bytes() : 0; }

 private:
  bool tensorboard_;
  AppendFile metrics_, events_;
};

// Names within a run directory.
constexpr const char* kMetricsFile = "metrics.jsonl";
constexpr const char* kEventFile = "events.out.tfevents.gorgon";

}  // namespace gorgon
