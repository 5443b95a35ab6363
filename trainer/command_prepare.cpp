#include <cstdio>

#include <fmt/format.h>

#include "data/hub_name.h"
#include "data/preview.h"
#include "kernels/error.h"
#include "trainer/commands.h"
#include "trainer/data_sets.h"
#include "trainer/run_config.h"
#include "trainer/run_directory.h"
#include "trainer/stop_signal.h"

namespace gorgon {

namespace fs = std::filesystem;

void check_model_path(const fs::path& path) {
  if (fs::exists(path)) return;
  fail(ExitCode::model, {path.string(), "model_path", "a GGUF file or a Hugging Face directory",
                         "nothing there", how_to_get_model(path.string())});
}

int prepare_command(const PrepareArguments& arguments, Console& console, const StopSignal& stop) {
  const LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  const RunConfig& config = loaded.config;
  check_model_path(config.model_path);
  const TextModel text(config.model_path);
  if (arguments.preview > 0) {
    const bool colour = wants_colour(stdout);
    std::fputs(preview(prepare_options(config, config.train_dataset_path, training_split(config)),
                       text.tokenizer, text.chat_template(), arguments.preview, colour)
                   .c_str(),
               stdout);
    return 0;
  }
  check_first_rows(config, text);
  RunDirectory directory(config.output_dir);
  const Stream stream(Device{}, StreamOptions{.stop_wanted = [&stop] { return stop.requested(); }});
  const auto prepare_one = [&](const PrepareOptions& options, const fs::path& path) {
    fs::create_directories(path.parent_path().empty() ? "." : path.parent_path());
    const PreparedDataset prepared = load_dataset(options, path, text, stream, console);
    fmt::print("{}\n{}", path.string(), to_text(prepared.report));
  };
  try {
    for (const NamedPath& eval : config.eval_dataset_path) {
      prepare_one(prepare_options(config, {eval.path}), eval_dataset_file(directory.prepared(), eval.name));
    }
    prepare_one(prepare_options(config, config.train_dataset_path, training_split(config)),
                arguments.dataset.empty() ? train_dataset_file(directory.prepared()) : arguments.dataset);
  } catch (const Stopped&) {
    directory.keep_prepared();  // the files that are whole
    throw;
  }
  directory.keep();
  console.info("prepared; gorgon train " + arguments.config.string() + " goes on from here");
  return 0;
}

int keys_command() {
  fmt::print("{}", config_key_table());
  return 0;
}

}  // namespace gorgon
