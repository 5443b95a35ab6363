// What TrainingRun (training_run.h) measures between steps, and what it makes of it.
#include <cmath>

#include <fmt/format.h>

#include "kernels/profile.h"
#include "trainer/training_run.h"

namespace gorgon {

void TrainingRun::evaluate() {
  const ProfileScope scope(inputs_.stream, "evaluation");
  last_evaluations_ = run_evaluations();
  for (const auto& [name, evaluation] : last_evaluations_) {
    if (reports_)
      reports_->evaluation({state_.step, epoch(state_.step), name, evaluation.loss, evaluation.heads,
                            is_pruned(), evaluation.accept_length});
    std::string line =
        fmt::format("step {}/{}  {}: loss {:.4f}", state_.step, max_steps_, name, evaluation.loss);
    if (evaluation.accept_length) line += fmt::format("  accept length {:.3f}", *evaluation.accept_length);
    if (is_pruned()) {
      line += fmt::format("  {:.2f}% of the targets outside the heads' vocabulary",
                          100 * share_outside(evaluation.heads));
    }
    console_.info(line);
  }
  state_.evaluated_step = state_.step;
  judge(last_evaluations_);  // all ranks have the same numbers
}

// The metric of the config, or the loss where the file has no prompt to measure an accepted length on.
std::string TrainingRun::choose_metric() {
  constexpr int64_t kFewPrompts = 400;
  const std::string& wanted = config_.metric_for_best_model;
  if (!is_accept_length(wanted) || accept_.empty()) return wanted;
  size_t set = 0;
  for (size_t i = 0; i < accept_.size(); ++i) {
    if (wanted == "eval_" + inputs_.evals[i].name + "_accept_length") set = i;
  }
  const int64_t prompts = accept_[set].prompts();
  if (chooses(config_) && prompts == 0) {
    console_.warn(fmt::format("{}: no prompts to answer, so that {} takes the place of {}",
                              inputs_.evals[set].name, loss_of_same_file(wanted), wanted));
  } else if (chooses(config_) && prompts < kFewPrompts) {
    console_.warn(fmt::format("{} prompts are few to choose a checkpoint by {}: {} or more tell heads apart",
                              prompts, wanted, kFewPrompts));
  }
  return prompts == 0 ? loss_of_same_file(wanted) : wanted;
}

// Best metric and patience.
void TrainingRun::judge(const std::vector<NamedEvaluation>& evaluations) {
  const double value = metric_value(state_.metric, evaluations);
  if (std::isfinite(value) &&
      (state_.best_step == 0 || is_better(state_.metric, value, state_.best_metric))) {
    state_.best_metric = value;
    state_.best_step = state_.step;
    state_.stale_evaluations = 0;
    return;
  }
  ++state_.stale_evaluations;
  if (config_.early_stopping_patience > 0 && state_.stale_evaluations >= config_.early_stopping_patience) {
    state_.stopped_early = true;
    const std::string best = state_.best_step == 0 ? "a finite " + state_.metric
                                                   : fmt::format("a better {} than {:.4f} (step {})",
                                                                 config_.metric_for_best_model,
                                                                 state_.best_metric, state_.best_step);
    console_.info(fmt::format("stops early at step {}: {} without {}", state_.step,
                              count_of(state_.stale_evaluations, "evaluation"), best));
  }
}

std::vector<NamedEvaluation> TrainingRun::run_evaluations() {
  trainer_.finish_weights();
  EvaluationOptions options;
  options.num_heads = config_.heads.num_heads;
  options.batch = config_.per_device_eval_batch_size;
  options.loss = config_.loss;
  std::vector<NamedEvaluation> evaluations;
  for (size_t i = 0; i < inputs_.evals.size(); ++i) {
    const EvalSet& set = inputs_.evals[i];
    {
      Progress progress(console_, set.name, set.dataset.sequences());
      evaluations.emplace_back(
          set.name, evaluate_dataset(trainer_, backbone_, set.dataset, options, inputs_.stream, inputs_.share,
                                     [&](int64_t done) { progress.update(done, ""); }));
    }
  }
  measure_accept_lengths(evaluations);
  return evaluations;
}

// Drafting takes whole heads.
void TrainingRun::measure_accept_lengths(std::vector<NamedEvaluation>& evaluations) {
  if (!is_accept_length(config_.metric_for_best_model)) return;
  std::optional<MedusaHeads> whole;
  if (inputs_.divided_heads) whole = states_.gather_heads(inputs_.weights.lm_head, config_.compute());
  const DraftHeads heads = DraftHeads::of(whole ? *whole : trainer_.heads(), backbone_.config().vocab_size);
  for (size_t i = 0; i < evaluations.size(); ++i) {
    AcceptEvaluator& accept = accept_[i];
    auto& [name, evaluation] = evaluations[i];
    if (accept.prompts() == 0) continue;
    Progress progress(console_, name + " accept length", accept.prompts());
    evaluation.prompts = accept.prompts();
    evaluation.accept_length = accept.accept_length(backbone_, heads, inputs_.stream, inputs_.share,
                                                    [&](int64_t done) { progress.update(done, ""); });
  }
}

}  // namespace gorgon
