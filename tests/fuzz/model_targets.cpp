#include <filesystem>

#include "model/model_files.h"
#include "model/tree_file.h"
#include "tests/data/temporary_directory.h"
#include "tests/fuzz/oracle.h"
#include "tests/fuzz/targets.h"

namespace gorgon {
namespace {

// A Hugging Face directory whose shards are there and whose index is not.
class ShardedModel {
 public:
  ShardedModel() {
    const std::filesystem::path model = "tests/golden/tiny_models/llama_untied";
    std::filesystem::copy(model / "config.json", folder_.path() / "config.json");
    std::filesystem::copy(model / "model.safetensors", folder_.path() / "a.safetensors");
  }
  const TemporaryDirectory& folder() const { return folder_; }

 private:
  TemporaryDirectory folder_;
};

}  // namespace

void fuzz_model_config(std::span<const std::byte> bytes) {
  static const TemporaryDirectory folder;
  folder.write("config.json", text_of(bytes));
  accept_errors({ExitCode::model}, [] {
    const ModelConfig config = read_hugging_face_config(folder.path());
    check_config(config, "input");  // what was read has passed it
  });
}

void fuzz_shard_index(std::span<const std::byte> bytes) {
  static const ShardedModel model;
  model.folder().write("model.safetensors.index.json", text_of(bytes));
  accept_errors({ExitCode::model}, [] { open_hugging_face_model(model.folder().path()); });
}

void fuzz_tree_file(std::span<const std::byte> bytes) {
  accept_errors({ExitCode::config}, [&] {
    const TreeFile tree = parse_tree(text_of(bytes), "input", 5);
    const std::string written = to_json(tree);
    check(to_json(parse_tree(written, "again", 5)) == written, "a tree differs after writing and reading");
  });
}

}  // namespace gorgon
