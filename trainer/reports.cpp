#include "trainer/reports.h"

#include <chrono>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "trainer/event_file.h"

namespace gorgon {
namespace {

using OrderedJson = nlohmann::ordered_json;

double tokens_per_second(const StepRecord& record) {
  return record.seconds > 0 ? static_cast<double>(record.tokens) / record.seconds : 0;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

OrderedJson cross_entropies(const std::vector<HeadMetrics>& heads) {
  OrderedJson list = OrderedJson::array();
  for (const HeadMetrics& head : heads) list.push_back(mean_cross_entropy(head));
  return list;
}

OrderedJson accuracies(const std::vector<HeadMetrics>& heads, int n) {
  OrderedJson list = OrderedJson::array();
  for (const HeadMetrics& head : heads) list.push_back(top_accuracy(head, n));
  return list;
}

std::string head_tag(const std::string& group, size_t k, const std::string& what) {
  return group + "/head_" + std::to_string(k + 1) + "_" + what;
}

}  // namespace

std::string log_line(const StepRecord& record, int64_t max_steps) {
  std::vector<double> means;
  for (const HeadMetrics& head : record.result.heads) means.push_back(mean_cross_entropy(head));
  return fmt::format("step {}/{}  loss {:.4f}  heads {:.3f}  grad_norm {:.3g}  lr {:.3g}  {:.0f} rows/s",
                     record.step, max_steps, record.result.loss, fmt::join(means, " "),
                     record.result.grad_norm, record.result.lr, record.rows_per_second());
}

double mean_cross_entropy(const HeadMetrics& head) {
  if (head.targets == 0) return std::numeric_limits<double>::quiet_NaN();
  return head.cross_entropy / static_cast<double>(head.targets);
}

double top_accuracy(const HeadMetrics& head, int n) {
  const int64_t all = head.targets + head.outside;
  if (all == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(head.top[n - 1]) / static_cast<double>(all);
}

double share_outside(const std::vector<HeadMetrics>& heads) {
  int64_t outside = 0, all = 0;
  for (const HeadMetrics& head : heads) {
    outside += head.outside;
    all += head.targets + head.outside;
  }
  return all == 0 ? 0 : static_cast<double>(outside) / static_cast<double>(all);
}

// nlohmann writes the shortest digits that read back equal, and null for what is not finite.
std::string metrics_line(const StepRecord& record) {
  OrderedJson line;
  line["step"] = record.step;
  line["epoch"] = record.epoch;
  line["loss"] = record.result.loss;
  line["heads"] = cross_entropies(record.result.heads);
  line["top1"] = accuracies(record.result.heads, 1);
  line["grad_norm"] = record.result.grad_norm;
  line["lr"] = record.result.lr;
  line["rows"] = record.rows;
  line["tokens"] = record.tokens;
  line["tokens_per_s"] = tokens_per_second(record);
  if (record.pruned) line["outside"] = share_outside(record.result.heads);
  if (record.ranks) {
    line["rank_seconds_max"] = record.ranks->max;
    line["rank_seconds_median"] = record.ranks->median;
    line["rank_ratio"] = record.ranks->ratio();
    line["slowest_rank"] = record.ranks->slowest;
  }
  if (record.result.skipped) line["skipped_head"] = record.result.skipped_head + 1;
  return line.dump() + "\n";
}

std::string metrics_line(const EvaluationRecord& record) {
  OrderedJson line;
  line["step"] = record.step;
  line["epoch"] = record.epoch;
  line["data"] = record.data;
  line["eval_loss"] = record.loss;
  line["eval_heads"] = cross_entropies(record.heads);
  for (int n = 1; n <= 5; ++n) line["eval_top" + std::to_string(n)] = accuracies(record.heads, n);
  if (record.pruned) line["eval_outside"] = share_outside(record.heads);
  if (record.accept_length) line["eval_accept_length"] = *record.accept_length;
  return line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Reports::Reports(const std::filesystem::path& run, bool tensorboard, int64_t metrics_bytes,
                 int64_t event_bytes)
    : tensorboard_(tensorboard), metrics_(run / kMetricsFile, metrics_bytes) {
  if (!tensorboard_) return;
  events_ = AppendFile(run / kEventFile, event_bytes);
  if (events_.bytes() == 0) events_.append(first_event(now()));
}

void Reports::step(const StepRecord& record) {
  metrics_.append(metrics_line(record));
}

void Reports::step_scalars(const StepRecord& record) {
  if (!tensorboard_) return;
  Event event{now(), record.step, "", {}};
  const auto add = [&](const std::string& tag, double value) {
    event.scalars.emplace_back(tag, static_cast<float>(value));
  };
  add("train/loss", record.result.loss);
  add("train/grad_norm", record.result.grad_norm);
  add("train/learning_rate", record.result.lr);
  add("train/epoch", record.epoch);
  add("train/tokens_per_s", tokens_per_second(record));
  for (size_t k = 0; k < record.result.heads.size(); ++k) {
    add(head_tag("train", k, "loss"), mean_cross_entropy(record.result.heads[k]));
    add(head_tag("train", k, "top1"), top_accuracy(record.result.heads[k], 1));
  }
  events_.append(encode_event(event));
}

void Reports::evaluation(const EvaluationRecord& record) {
  metrics_.append(metrics_line(record));
  if (!tensorboard_) return;
  Event event{now(), record.step, "", {}};
  const std::string group = record.data == "eval" ? "eval" : "eval_" + record.data;
  event.scalars.emplace_back(group + "/loss", static_cast<float>(record.loss));
  if (record.accept_length)
    event.scalars.emplace_back(group + "/accept_length", static_cast<float>(*record.accept_length));
  for (size_t k = 0; k < record.heads.size(); ++k) {
    event.scalars.emplace_back(head_tag(group, k, "loss"),
                               static_cast<float>(mean_cross_entropy(record.heads[k])));
    for (int n = 1; n <= 5; ++n) {
      event.scalars.emplace_back(head_tag(group, k, "top" + std::to_string(n)),
                                 static_cast<float>(top_accuracy(record.heads[k], n)));
    }
  }
  events_.append(encode_event(event));
}

void Reports::sync() {
  metrics_.sync();
  if (tensorboard_) events_.sync();
}

}  // namespace gorgon
