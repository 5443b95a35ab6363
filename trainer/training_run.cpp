#include "trainer/training_run.h"

#include <fmt/format.h>

#include "data/file.h"
#include "kernels/error.h"
#include "kernels/profile.h"
#include "kernels/workspace.h"
#include "trainer/data_sets.h"
#include "trainer/heads_file.h"
#include "trainer/memory_plan.h"
#include "trainer/rank_agreement.h"
#include "trainer/run_source.h"

namespace gorgon {
namespace {
namespace fs = std::filesystem;

constexpr int64_t kMaxSkippedInARow = 10;

}  // namespace

HeadTrainerOptions head_trainer_options(const RunConfig& config, int64_t max_steps,
                                        std::vector<int32_t> vocab_ids) {
  HeadTrainerOptions options;
  options.heads = config.heads;
  options.loss = config.loss;
  options.optimizer = config.optimizer;
  options.lr = config.lr;
  options.lr_multiplier = config.lr_multipliers();
  options.max_steps = max_steps;
  options.seed = static_cast<uint64_t>(config.seed);
  options.vocab_ids = std::move(vocab_ids);
  options.gradient_filter = config.vocab_gradient_filter;
  return options;
}

TrainingRun::TrainingRun(const RunInputs& inputs, const fs::path& directory, const fs::path& checkpoint,
                         Console& console)
    : inputs_(inputs),
      config_(inputs.config),
      directory_(directory),
      console_(console),
      backbone_(inputs.weights, config_.compute()),
      source_(source_of(inputs, backbone_)),
      steps_per_epoch_(source_->steps_per_epoch()),
      max_steps_(config_.resolved_max_steps(inputs.train.sequences())),
      head_ranks_{&inputs.ranks.host(), &inputs.ranks.on(inputs.stream.device()), inputs.divided_heads},
      trainer_(head_trainer_options(config_, max_steps_, inputs.vocab_ids), inputs.weights.lm_head,
               config_.compute(), inputs.stream, head_ranks_),
      runner_(trainer_, *source_, inputs.stream),
      states_(trainer_, head_ranks_, inputs.stream) {
  inputs.stream.arena().reserve(working_memory(config_, backbone_.config(), inputs.stream.device().kind,
                                               config_.per_device_train_batch_size));
  state_.seed = static_cast<uint64_t>(config_.seed);
  state_.config = to_yaml(config_);
  state_.model_fingerprint = inputs.weights.fingerprint;
  state_.data_fingerprint = content_fingerprint(inputs.train);
  state_.loader = source_->state();
  for (const EvalSet& set : inputs.evals) accept_.emplace_back(set.answers);
  state_.metric = choose_metric();
  if (!checkpoint.empty()) resume(checkpoint);
  if (!inputs.ranks.is_first()) return;
  reports_.emplace(directory_, config_.report_to == ReportTo::tensorboard, state_.metrics_bytes,
                   state_.event_bytes);
  write_atomically(directory_ / "config.yaml", state_.config);
}

void TrainingRun::resume(const fs::path& checkpoint) {
  if (inputs_.ranks.is_first()) {
    check_same_run(checkpoint);
    const std::string config = state_.config, metric = state_.metric;
    state_ = load_training_state(checkpoint);
    state_.config = config;  // keys that do not shape the result may have changed
    if (state_.metric != metric) {
      console_.info(fmt::format("chooses by {} from here on, no longer by {}", metric, state_.metric));
      state_.metric = metric;
      state_.best_step = state_.stale_evaluations = 0;
      state_.best_metric = 0;
    }
  }
  take_rank_0s_state();
  states_.load(checkpoint);
  trainer_.set_adam_steps(state_.adam_steps);
  source_->restore(state_.loader);
  saved_step_ = state_.step;
  console_.info(
      fmt::format("resumes behind step {} of {}, from {}", state_.step, max_steps_, checkpoint.string()));
}

// Rank 0 alone reads checkpoints.
void TrainingRun::take_rank_0s_state() {
  RankGroup& ranks = inputs_.ranks;
  if (!ranks.is_several()) return;
  state_ = parse_training_state(broadcast_text(ranks.host(), to_json(state_), "the checkpoint"), "rank 0");
}

void TrainingRun::check_same_run(const fs::path& checkpoint) const {
  const TrainingState saved = load_training_state(checkpoint);
  if (saved.model_fingerprint != state_.model_fingerprint) {
    fail(ExitCode::checkpoint,
         {checkpoint.string(), "model", "fingerprint " + saved.model_fingerprint, state_.model_fingerprint,
          "use the model the run began with, or --force to start over"});
  }
  if (saved.data_fingerprint != state_.data_fingerprint) {
    fail(ExitCode::data,
         {checkpoint.string(), "training data", "SHA-256 " + saved.data_fingerprint, state_.data_fingerprint,
          "restore the data the run began with, or --force to start over"});
  }
}

template <typename Work>
auto TrainingRun::saving_when_stopped(const Work& work) {
  try {
    return work();
  } catch (const Stopped&) {
    if (saved_step_ != state_.step) save();
    throw;
  }
}

void TrainingRun::train() {
  saving_when_stopped([&] { train_steps(); });
}

void TrainingRun::train_steps() {
  Progress progress(console_, "train", max_steps_, state_.step);
  complete_step();  // what a stop right behind the saved step left undone
  try {
    while (!is_last()) {
      one_step(progress);
      if (runner_.open() == 0) complete_step();
    }
  } catch (const Stopped&) {  // what was begun before is whole
    while (runner_.open() > 0) finish_step(progress, seconds_waited());
    throw;
  }
}

// All ranks throw, or none.
void TrainingRun::stop_point() const {
  inputs_.stream.stop_point();
  if (!inputs_.ranks.is_several()) return;
  std::vector<int64_t> wanted{inputs_.share.stop_wanted() ? 1 : 0};
  all_reduce(inputs_.ranks.host(), wanted, ReduceOp::max, "stop requests");
  if (wanted[0] != 0) throw Stopped();
}

// Rows and tokens of all ranks, and how long each worked.
void TrainingRun::gather_ranks(StepRecord& record) {
  // Where heads are divided, every rank has the rows of all.
  const bool speaks = !inputs_.divided_heads || inputs_.ranks.is_first();
  const std::vector<double> mine{speaks ? static_cast<double>(record.rows) : 0,
                                 static_cast<double>(record.tokens), record.worked};
  const std::vector<double> all = gather_all(inputs_.ranks.host(), mine, "what the step was");
  record.rows = record.tokens = 0;
  std::vector<double> seconds;
  for (size_t at = 0; at < all.size(); at += mine.size()) {
    record.rows += static_cast<int64_t>(all[at]);
    record.tokens += static_cast<int64_t>(all[at + 1]);
    seconds.push_back(all[at + 2]);
  }
  record.ranks = rank_times(seconds);
  if (const auto slow = stragglers_.add(seconds)) {
    console_.warn(
        fmt::format("{} took {:.1f} times as long as the others (the median) over {} steps: they wait for it",
                    inputs_.ranks.name(slow->slowest), slow->ratio(), Stragglers::kSteps));
  }
}

// By the host, and by its GPU.
double TrainingRun::seconds_waited() const {
  const bool has_gpu = head_ranks_.device != head_ranks_.host;
  return head_ranks_.host->seconds_waited() + (has_gpu ? head_ranks_.device->seconds_waited() : 0);
}

void TrainingRun::one_step(Progress& progress) {
  stop_point();
  inputs_.ranks.set_step(state_.step + 1);
  const double waited = seconds_waited();
  runner_.begin(state_.step + 1);
  ++state_.step;
  state_.loader = source_->state();
  const int64_t open = pauses() || inputs_.ranks.is_several() ? 0 : runner_.ahead();
  while (runner_.open() > open) finish_step(progress, waited);
}

// Reports the oldest step begun. `waited`: for other ranks, before it began.
void TrainingRun::finish_step(Progress& progress, double waited) {
  StepRecord record = runner_.finish();
  record.worked = record.seconds - (seconds_waited() - waited);
  if (inputs_.ranks.is_several()) gather_ranks(record);
  record.epoch = epoch(record.step);
  record.pruned = is_pruned();
  const ProfileScope scope(inputs_.stream, "reports");
  if (reports_) reports_->step(record);
  count_skipped(record);
  log_step(record);
  progress.update(record.step,
                  fmt::format("loss {:.4f}  {:.0f} rows/s", record.result.loss, record.rows_per_second()));
}

void TrainingRun::count_skipped(const StepRecord& record) {
  if (!record.result.skipped) {
    state_.nonfinite_steps = 0;
    return;
  }
  ++state_.nonfinite_steps;
  const std::string head = record.result.skipped_head < 0
                               ? "the gradient norm"
                               : fmt::format("head {}", record.result.skipped_head + 1);
  console_.warn(fmt::format("step {} is skipped: {} is not finite", record.step, head));
  if (state_.nonfinite_steps < kMaxSkippedInARow) return;
  fail(ExitCode::numeric, {directory_.string(), fmt::format("step {}, {}", record.step, head),
                           "finite numbers", fmt::format("{} steps in a row without", kMaxSkippedInARow),
                           "lower learning_rate; the last checkpoint is untouched"});
}

void TrainingRun::log_step(const StepRecord& record) {
  if (!is_due(config_.logging_strategy, config_.logging_steps, record.step)) return;
  console_.info(log_line(record, max_steps_));
  if (reports_) reports_->step_scalars(record);
}

// Evaluation and checkpoint of state_.step, where they are due and not done yet.
void TrainingRun::complete_step() {
  if (state_.step == 0) return;
  const bool evaluation_due = is_last() || is_due(config_.eval_strategy, config_.eval_steps, state_.step);
  if (evaluation_due && !inputs_.evals.empty() && state_.evaluated_step != state_.step) {
    evaluate();
    saved_step_ = 0;
  }
  if (config_.save_strategy == Strategy::no || saved_step_ == state_.step) return;
  const bool best = config_.load_best_model_at_end && state_.best_step == state_.step;
  if (is_last() || best || is_due(config_.save_strategy, config_.save_steps, state_.step)) save();
}

// Whether complete_step() may have something to do.
bool TrainingRun::pauses() const {
  return is_last() || is_due(config_.eval_strategy, config_.eval_steps, state_.step) ||
         is_due(config_.save_strategy, config_.save_steps, state_.step);
}

void TrainingRun::save() {
  const ProfileScope scope(inputs_.stream, "checkpoints");
  inputs_.ranks.is_first() ? write_checkpoint() : states_.follow(true);
  saved_step_ = state_.step;
  inputs_.ranks.host().barrier("the checkpoint");
}

void TrainingRun::write_checkpoint() {
  reports_->sync();
  state_.metrics_bytes = reports_->metrics_bytes();
  state_.event_bytes = reports_->event_bytes();
  state_.adam_steps = trainer_.adam_steps();
  save_checkpoint(directory_, state_,
                  [this](const fs::path& to) { states_.save(to, heads_metadata(state_.step)); });
  prune_checkpoints(directory_, config_.save_total_limit, state_.best_step);
}

std::vector<NamedEvaluation> TrainingRun::finish() {
  int64_t step = state_.step;
  if (config_.load_best_model_at_end && state_.best_step > 0 && state_.best_step != step) {
    step = state_.best_step;  // saved, as the last step is
    const fs::path best = directory_ / ("checkpoint-" + std::to_string(step));
    if (inputs_.ranks.is_first()) verify_checkpoint(best);
    states_.load_heads(best);
    console_.info(fmt::format("exports the heads of step {}, the best by {}", step, state_.metric));
    last_evaluations_.clear();
  }
  if (last_evaluations_.empty()) {
    saving_when_stopped([&] { last_evaluations_ = run_evaluations(); });
  }
  if (!inputs_.ranks.is_first()) {
    states_.follow(false);
    return last_evaluations_;
  }
  write_atomically(directory_ / "config.json", heads_config_json(config_.heads, inputs_.weights.config,
                                                                 config_.model_path, config_.compute()));
  reports_->sync();
  states_.save_heads(directory_, heads_metadata(step));
  return last_evaluations_;
}

std::map<std::string, std::string> TrainingRun::heads_metadata(int64_t step) const {
  return {{"step", std::to_string(step)}, {"model_fingerprint", state_.model_fingerprint}};
}

double TrainingRun::epoch(int64_t step) const {
  return static_cast<double>(step) / static_cast<double>(steps_per_epoch_);
}

bool TrainingRun::is_last() const {
  return state_.step >= max_steps_ || state_.stopped_early;
}

bool TrainingRun::is_due(Strategy strategy, int64_t every, int64_t step) const {
  if (strategy == Strategy::epoch) return step % steps_per_epoch_ == 0;
  return strategy == Strategy::steps && every > 0 && step % every == 0;
}

}  // namespace gorgon
