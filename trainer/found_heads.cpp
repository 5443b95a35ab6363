#include "trainer/found_heads.h"

#include <map>

#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "kernels/error.h"
#include "model/tree_file.h"
#include "trainer/checkpoint.h"
#include "trainer/commands.h"
#include "trainer/heads_file.h"
#include "trainer/run_keys.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

std::map<std::string, std::string> metadata_of(const fs::path& heads) {
  const MappedFile file(heads, ExitCode::checkpoint);
  return parse_safetensors(file.bytes(), heads.string(), ExitCode::checkpoint).metadata;
}

FoundHeads heads_of_checkpoint(const fs::path& checkpoint) {
  verify_checkpoint(checkpoint);
  const TrainingState state = load_training_state(checkpoint);
  return {checkpoint / kHeadsFile, checkpoint.parent_path(),
          parse_config(state.config, (checkpoint / "state.json").string(), {}).config, false};
}

FoundHeads heads_of_export(const fs::path& directory) {
  const fs::path path = directory / "config.json";
  JsonOptions options;
  options.file = path.string();
  options.code = ExitCode::checkpoint;
  const Json json = parse_json(read_text(path, ExitCode::checkpoint), options);
  FoundHeads found;
  found.file = directory / kExportedHeadsFile;
  found.directory = directory;
  found.is_export = true;
  found.config.model_path = json_string(json, "base_model_name_or_path", options);
  found.config.heads.num_heads = static_cast<int>(json_int(json, "medusa_num_heads", 1, 64, options));
  found.config.heads.num_layers = static_cast<int>(json_int(json, "medusa_num_layers", 0, 64, options));
  found.config.bf16 = json_string(json, "torch_dtype", options) == "bfloat16";
  const auto metadata = metadata_of(found.file);
  const auto keys = metadata.find(kRunKeys);
  if (keys == metadata.end()) return found;
  set_run_keys(keys->second, found.file.string(), found.config);
  found.has_run_keys = true;
  return found;
}

}  // namespace

FoundHeads find_heads(const fs::path& path, Console& console) {
  if (fs::exists(path / "manifest.json")) return heads_of_checkpoint(path);
  if (fs::exists(path / kHeadsFile) && fs::exists(path / "config.yaml")) {
    return {path / kHeadsFile, path, load_config(path / "config.yaml", {}).config, false};
  }
  if (fs::exists(path / kExportedHeadsFile)) return heads_of_export(path);
  const fs::path newest = newest_checkpoint(path, [&](const std::string& text) { console.warn(text); });
  if (newest.empty()) {
    fail(ExitCode::checkpoint,
         {path.string(), "", "a run directory, a checkpoint or an export",
          fs::exists(path) ? "none of them" : "nothing there", "gorgon train CONFIG makes one"});
  }
  console.info("the run is not finished; takes " + newest.string());
  return heads_of_checkpoint(newest);
}

RunConfig config_beside(const fs::path& path) {
  for (const fs::path& file : {path / "config.yaml", path / ".." / "config.yaml"}) {
    if (fs::exists(file)) return load_config(file, {}).config;
  }
  return {};
}

ModelWeights load_same_model(const FoundHeads& found, DType compute, WeightStorage storage,
                             const Stream& stream) {
  check_model_path(found.config.model_path);
  // fp8 is a way to train faster; answers are those of the model itself.
  const Quantisation quantise = found.config.fp8 ? Quantisation::none : found.config.quantisation();
  ModelWeights weights = load_model(found.config.model_path, compute, stream, storage, quantise);
  const auto metadata = metadata_of(found.file);
  const auto trained_for = metadata.find("model_fingerprint");
  if (trained_for != metadata.end() && trained_for->second != weights.fingerprint) {
    fail(ExitCode::checkpoint,
         {found.file.string(), "model", "heads of " + weights.fingerprint, "heads of " + trained_for->second,
          "give the model they were trained for: --model"});
  }
  return weights;
}

bool names_other_heads(const TreeFile& file, const fs::path& heads) {
  if (!file.made_from.is_object() || !file.made_from.contains("heads_sha256")) return false;
  return file.made_from["heads_sha256"] != sha256_of_file(heads, ExitCode::checkpoint);
}

DraftTree find_tree(const FoundHeads& found, const fs::path& given, int num_heads, Console& console) {
  const fs::path path = given.empty() ? found.directory / kTreeFile : given;
  if (given.empty() && !fs::exists(path)) return chain_tree(num_heads);
  const TreeFile file = read_tree(path, num_heads);
  if (names_other_heads(file, found.file)) {
    console.warn(path.string() + " was made for other heads than " + found.file.string() +
                 ": decoding may be slower than it could be; make it again with `gorgon tree`");
  }
  return file.tree;
}

DType decode_type(const std::string& name, const RunConfig& config) {
  if (name.empty()) return config.compute();
  return name == "f32" ? DType::f32 : DType::bf16;
}

}  // namespace gorgon
