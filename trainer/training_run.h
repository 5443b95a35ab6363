#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/state_cache.h"
#include "kernels/ranks/rank_group.h"
#include "model/backbone.h"
#include "model/model_weights.h"
#include "trainer/accept_evaluation.h"
#include "trainer/checkpoint.h"
#include "trainer/console.h"
#include "trainer/evaluation.h"
#include "trainer/head_trainer.h"
#include "trainer/model_choice.h"
#include "trainer/rank_share.h"
#include "trainer/reports.h"
#include "trainer/run_config.h"
#include "trainer/run_states.h"
#include "trainer/state_source.h"
#include "trainer/stragglers.h"
#include "trainer/train_step.h"

namespace gorgon {

struct EvalSet {
  std::string name;
  Dataset dataset;
  std::vector<OwnAnswer> answers;  // none: no accepted length of this file
};

// What a run reads and never changes. Must outlive the TrainingRun.
struct RunInputs {
  const RunConfig& config;
  const ModelWeights& weights;
  const Dataset& train;
  const std::vector<EvalSet>& evals;
  const std::vector<int32_t>& vocab_ids;  // what medusa_vocab came to; empty = all tokens
  const CacheReader* cache;               // of the training data; nullptr = the backbone runs in every step
  const Stream& stream;
  RankGroup& ranks;    // all read the same; only the first one writes
  bool divided_heads;  // parallel_heads: vocab
  RankShare& share;    // of the same ranks, for evaluations; knows when this one wants to stop
};

HeadTrainerOptions head_trainer_options(const RunConfig& config, int64_t max_steps,
                                        std::vector<int32_t> vocab_ids);

// The loop: steps, evaluations, checkpoints, and the export at the end. A run that goes on from a checkpoint
// gives the same bits as one that never stopped. Where a stop point of the stream throws Stopped, the step or
// evaluation at work is left undone, the last finished step is saved, and Stopped goes on to the caller.
class TrainingRun {
 public:
  // `checkpoint`: where to go on, verified; empty = from the start. Throws Error(checkpoint) when it is of
  // another config or model, Error(data) when of other data. Only rank 0 reads it, and only rank 0 touches
  // `directory`.
  TrainingRun(const RunInputs& inputs, const std::filesystem::path& directory,
              const std::filesystem::path& checkpoint, Console& console);

  int64_t steps() const { return state_.step; }  // done so far
  void train();
  // Writes medusa_heads.safetensors and config.json; returns the evaluations of the exported heads, one per
  // file.
  std::vector<NamedEvaluation> finish();

 private:
  void resume(const std::filesystem::path& checkpoint);
  void take_rank_0s_state();
  void check_same_run(const std::filesystem::path& checkpoint) const;
  template <typename Work>
  auto saving_when_stopped(const Work& work);
  void train_steps();
  void one_step(Progress& progress);
  void finish_step(Progress& progress, double waited);
  void stop_point() const;
  double seconds_waited() const;
  void gather_ranks(StepRecord& record);
  void count_skipped(const StepRecord& record);
  void log_step(const StepRecord& record);
  void complete_step();
  void evaluate();
  void judge(const std::vector<NamedEvaluation>& evaluations);
  std::vector<NamedEvaluation> run_evaluations();
  void measure_accept_lengths(std::vector<NamedEvaluation>& evaluations);
  std::string choose_metric();
  void save();
  void write_checkpoint();
  std::map<std::string, std::string> heads_metadata(int64_t step) const;
  double epoch(int64_t step) const;
  bool is_last() const;
  bool is_pruned() const { return !inputs_.vocab_ids.empty(); }
  bool pauses() const;
  bool is_due(Strategy strategy, int64_t every, int64_t step) const;

  const RunInputs& inputs_;
  const RunConfig& config_;
  std::filesystem::path directory_;
  Console& console_;
  Backbone backbone_;
  std::unique_ptr<StateSource> source_;
  int64_t steps_per_epoch_, max_steps_;
  HeadRanks head_ranks_;
  HeadTrainer trainer_;
  StepRunner runner_;
  RunStates states_;
  TrainingState state_;
  int64_t saved_step_ = 0;  // of the newest checkpoint that holds all of state_
  std::optional<Reports> reports_;
  Stragglers stragglers_;
  std::vector<AcceptEvaluator> accept_;            // one for each of inputs_.evals
  std::vector<NamedEvaluation> last_evaluations_;  // of state_.evaluated_step, in this process
};

}  // namespace gorgon
