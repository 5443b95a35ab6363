#pragma once

#include <filesystem>
#include <string>

#include "model/draft_heads.h"
#include "model/draft_tree.h"
#include "model/model_weights.h"
#include "model/tree_file.h"
#include "trainer/console.h"
#include "trainer/run_config.h"

namespace gorgon {

// Trained heads on disk, and what is known about how they were trained.
struct FoundHeads {
  std::filesystem::path file;       // the safetensors file
  std::filesystem::path directory;  // where tree.json lies, if there is one: the run or the export
  RunConfig config;                 // of the run; an export knows model_path, type, sizes and its run_keys
  bool is_export = false;
  bool has_run_keys = false;  // of an export: what it says of its run (run_keys.h); else these are defaults

  // Whether they are the finished heads of the run directory `path`, not a checkpoint's or an export's.
  bool is_finished_run(const std::filesystem::path& path) const {
    return !is_export && directory == path && file == path / file.filename();  // PATH may end in "/"
  }
};

// Names of the heads' file in an export for Hugging Face style engines.
constexpr const char* kExportedHeadsFile = "medusa_lm_head.safetensors";
constexpr const char* kTreeFile = "tree.json";

// From a run directory (its finished heads, else those of the newest checkpoint), a checkpoint or an export.
// Throws Error(checkpoint) where there is none of them.
FoundHeads find_heads(const std::filesystem::path& path, Console& console);

// config.yaml of a run directory, or of the one that a checkpoint lies in; defaults where there is none.
RunConfig config_beside(const std::filesystem::path& path);

// The model that `config` names, in `compute`. Error(checkpoint) when the heads say that they were trained
// for another one.
ModelWeights load_same_model(const FoundHeads& found, DType compute, WeightStorage storage,
                             const Stream& stream);

// Whether a tree says that it was made for other heads than those in the file `heads`; a plain list of paths
// says nothing.
bool names_other_heads(const TreeFile& file, const std::filesystem::path& heads);

// The tree to decode with: `given`, else tree.json beside the heads, else the chain of all heads. Warns of a
// tree that says it was made for other heads: it is right for these too, but not chosen by what they get
// right.
DraftTree find_tree(const FoundHeads& found, const std::filesystem::path& given, int num_heads,
                    Console& console);

}  // namespace gorgon
