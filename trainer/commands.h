#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "trainer/console.h"

namespace gorgon {

struct RunConfig;
class RankGroup;
class StopSignal;

// The program's commands. Results go to stdout, everything else through the console. Each returns 0, and
// throws Error where it cannot do what it was asked, or Stopped where `stop` was requested before it was
// done; what is saved and appears under a final name is whole in every case.

struct PrepareArguments {
  std::filesystem::path config;
  std::vector<std::string> overrides;  // key=value
  std::filesystem::path dataset;       // where to write; empty = OUTPUT_DIR/prepared/dataset.h5
  int64_t preview = 0;                 // documents to show, instead of writing anything
};
int prepare_command(const PrepareArguments& arguments, Console& console, const StopSignal& stop);

struct PlanArguments {
  std::filesystem::path config;
  std::vector<std::string> overrides;
  int ranks = 1;  // processes of the job
};
int plan_command(const PlanArguments& arguments, Console& console);

struct CacheArguments {
  std::filesystem::path config;
  std::vector<std::string> overrides;
  std::filesystem::path dataset;
  std::filesystem::path cache;  // where to write; empty = OUTPUT_DIR/prepared/cache.h5
};
int cache_command(const CacheArguments& arguments, Console& console, const StopSignal& stop);

struct TrainArguments {
  std::filesystem::path config;
  std::vector<std::string> overrides;
  std::filesystem::path dataset;
  std::filesystem::path cache;  // empty = OUTPUT_DIR/prepared/cache.h5
  std::string resume = "auto";  // auto, never, or a checkpoint's path
  bool force = false;           // remove what an earlier run left in output_dir
  bool profile = false;         // print where the time went
};
int train_command(const TrainArguments& arguments, Console& console, const StopSignal& stop,
                  RankGroup& ranks);

struct EvalArguments {
  std::filesystem::path run;      // a run directory, a checkpoint or an export
  std::vector<std::string> data;  // JSONL: paths or globs
  std::filesystem::path model;    // empty = the run's
  std::filesystem::path tree;     // empty = tree.json beside the heads, else the chain
  std::filesystem::path output;   // JSON; empty = none
  std::string draft;              // heads, lookup or both; empty = each of them
  std::string dtype;              // bf16, f32; empty = the run's
  int64_t limit = -1;             // prompts, and sequences of labels; -1 = all
  int64_t max_new_tokens = 128;
  std::vector<int64_t> batches = {1, 4, 16};  // of the break-even curve
  double temperature = 0;
  uint64_t seed = 0;
  std::string heads_dtype;  // q8_0 or full; empty = q8_0 beside bf16
};
int eval_command(const EvalArguments& arguments, Console& console, const StopSignal& stop, RankGroup& ranks);

struct DistillArguments {
  std::filesystem::path config;  // its model answers the prompts of its train_dataset_path
  std::vector<std::string> overrides;
  std::filesystem::path output;
  int64_t max_new_tokens = 256;
  double temperature = 0, top_p = 1;
  uint64_t seed = 0;
};
int distill_command(const DistillArguments& arguments, Console& console, const StopSignal& stop,
                    RankGroup& ranks);

struct TreeArguments {
  std::filesystem::path heads;    // a run directory, a checkpoint or an export
  std::vector<std::string> data;  // JSONL: paths or globs
  std::filesystem::path output;
  std::filesystem::path model;  // empty = the run's
  std::string dtype;            // bf16, f32; empty = the run's
  int64_t limit = 300;          // prompts; -1 = all
  int64_t max_new_tokens = 128;
  std::string heads_dtype;  // q8_0 or full; empty = q8_0 beside bf16
};
int tree_command(const TreeArguments& arguments, Console& console, const StopSignal& stop);

struct ExportArguments {
  std::filesystem::path heads;   // a run directory or a checkpoint
  std::filesystem::path output;  // a new or empty directory
  std::filesystem::path model;   // empty = the run's
};
int export_command(const ExportArguments& arguments, Console& console, const StopSignal& stop);

struct GenerateArguments {
  std::filesystem::path heads;  // a run directory, a checkpoint or an export
  std::filesystem::path model;  // empty = the run's
  std::filesystem::path tree;   // empty = tree.json beside the heads, else the chain
  std::string prompt;
  bool chat = false;
  bool compare = false;  // plain decoding beside it
  bool lookup = false;   // join the heads with prompt lookup
  std::string dtype;     // bf16, f32; empty = the run's
  double temperature = 0, top_p = 1;
  uint64_t seed = 0;
  int64_t max_new_tokens = 256;
  std::string heads_dtype;  // q8_0 or full; empty = q8_0 beside bf16
};
int generate_command(const GenerateArguments& arguments, Console& console, StopSignal& stop);

// bf16 or f32 by name; "" is the run's own.
DType decode_type(const std::string& name, const RunConfig& config);

int keys_command();  // prints the key table

// Error(model) when nothing lies at `path`, with the command that downloads it when it looks like a name on
// the Hugging Face hub.
void check_model_path(const std::filesystem::path& path);

}  // namespace gorgon
