#include "trainer/model_choice.h"

#include <cmath>
#include <limits>

namespace gorgon {
namespace {

constexpr std::string_view kAcceptLength = "accept_length", kLoss = "loss";

std::string metric_of(const std::string& file, std::string_view what) {
  return "eval_" + (file.empty() ? "" : file + "_") + std::string(what);
}

}  // namespace

std::vector<std::string> metric_names(const std::vector<NamedPath>& evals) {
  std::vector<std::string> names{metric_of("", kAcceptLength), metric_of("", kLoss)};
  for (const NamedPath& eval : evals) {
    names.push_back(metric_of(eval.name, kAcceptLength));
    names.push_back(metric_of(eval.name, kLoss));
  }
  return names;
}

bool is_accept_length(const std::string& metric) {
  return metric.ends_with("_" + std::string(kAcceptLength));
}

std::string loss_of_same_file(const std::string& metric) {
  if (!is_accept_length(metric)) return metric;
  return metric.substr(0, metric.size() - kAcceptLength.size()) + std::string(kLoss);
}

bool chooses(const RunConfig& config) {
  return config.load_best_model_at_end || config.early_stopping_patience > 0;
}

double metric_value(const std::string& metric, const std::vector<NamedEvaluation>& evaluations) {
  const Evaluation* of = &evaluations.front().second;
  for (const auto& [name, evaluation] : evaluations) {
    if (metric == metric_of(name, kAcceptLength) || metric == metric_of(name, kLoss)) of = &evaluation;
  }
  if (!is_accept_length(metric)) return of->loss;
  return of->accept_length.value_or(std::numeric_limits<double>::quiet_NaN());
}

bool is_better(const std::string& metric, double value, double best) {
  if (!std::isfinite(value)) return false;
  return is_accept_length(metric) ? value > best : value < best;
}

}  // namespace gorgon
