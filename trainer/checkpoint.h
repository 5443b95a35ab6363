#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/loader.h"

namespace gorgon {

// A checkpoint is a directory `checkpoint-STEP` of a run directory: some files and manifest.json, which names
// each with its size and SHA-256 and carries a SHA-256 of itself. It appears under its name complete or not
// at all: a temporary directory is written and synced first and then renamed.

// Everything of a run that is not a tensor.
struct TrainingState {
  int64_t step = 0;               // optimizer steps done, skipped ones included
  int64_t adam_steps = 0;         // t of the moments
  LoaderState loader;             // its key and cursor are all the randomness of the order of sequences;
  uint64_t seed = 0;              // stochastic rounding is a function of (seed, parameter, element, step)
  std::string metric;             // what the best checkpoint is chosen by
  double best_metric = 0;         // its value, valid when best_step > 0
  int64_t best_step = 0;          // step of the evaluation with the best metric; 0 = none yet
  int64_t evaluated_step = 0;     // step of the last evaluation
  int64_t stale_evaluations = 0;  // evaluations since the best one
  int64_t nonfinite_steps = 0;    // skipped steps in a row
  bool stopped_early = false;
  int64_t metrics_bytes = 0, event_bytes = 0;  // of the files of Reports
  std::string config;                          // the run's keys, as YAML
  std::string model_fingerprint;               // ModelWeights::fingerprint
  std::string data_fingerprint;                // SHA-256 of what the sequences were made from
};
std::string to_json(const TrainingState& state);
// Throws Error(checkpoint).
TrainingState parse_training_state(const std::string& text, const std::string& file);

// Writes a checkpoint: `write` puts files into the directory it is given; state.json and the manifest follow.
// Throws Error(resource), and leaves earlier checkpoints as they are and no temporary behind.
void save_checkpoint(const std::filesystem::path& run, const TrainingState& state,
                     const std::function<void(const std::filesystem::path& directory)>& write);

// Checks a checkpoint against its manifest: every file, its size and SHA-256. Throws Error(checkpoint) that
// names the file and both sums.
void verify_checkpoint(const std::filesystem::path& checkpoint);

struct CheckpointName {
  std::filesystem::path path;
  int64_t step;
};
// The directories that are named like checkpoints, newest first by step (never by time).
std::vector<CheckpointName> list_checkpoints(const std::filesystem::path& run);

// The newest checkpoint that passes verify_checkpoint; a damaged one is told to `warn` and passed over. Empty
// when the run has none at all; Error(checkpoint) when it has some and none is whole.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run,
                                        const std::function<void(const std::string&)>& warn);

TrainingState load_training_state(const std::filesystem::path& checkpoint);

// Removes the oldest checkpoints beyond `limit` (0 = keep all). The two newest and the one of best_step
// always stay.
void prune_checkpoints(const std::filesystem::path& run, int64_t limit, int64_t best_step);

// Removes what a killed save or prune left behind; returns the names.
std::vector<std::string> remove_leftovers(const std::filesystem::path& run);

}  // namespace gorgon
