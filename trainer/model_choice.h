#pragma once

#include <string>
#include <utility>
#include <vector>

#include "trainer/evaluation.h"
#include "trainer/run_config.h"

namespace gorgon {

// What the best checkpoint is chosen by, and when training stops early: metric_for_best_model.

// One evaluation with the name of its data file.
using NamedEvaluation = std::pair<std::string, Evaluation>;

// Names that metric_for_best_model may have: eval_accept_length and eval_loss (of the first file), and
// eval_NAME_accept_length and eval_NAME_loss of each.
std::vector<std::string> metric_names(const std::vector<NamedPath>& evals);

bool is_accept_length(const std::string& metric);  // more is better; of losses less is
// The loss of the same file.
std::string loss_of_same_file(const std::string& metric);
// Whether the metric has something to choose in this run.
bool chooses(const RunConfig& config);

// The metric's value, NaN where its file has no prompts.
double metric_value(const std::string& metric, const std::vector<NamedEvaluation>& evaluations);
// Whether `value` is strictly better than `best`: a tie leaves the earlier one. What is not finite never is.
bool is_better(const std::string& metric, double value, double best);

}  // namespace gorgon
