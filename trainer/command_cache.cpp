#include <fmt/format.h>

#include "kernels/error.h"
#include "trainer/commands.h"
#include "trainer/data_sets.h"
#include "trainer/run_directory.h"
#include "trainer/run_stream.h"
#include "trainer/state_caching.h"

namespace gorgon {

namespace fs = std::filesystem;

int cache_command(const CacheArguments& arguments, Console& console, const StopSignal& stop) {
  const LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  const RunConfig& config = loaded.config;
  check_model_path(config.model_path);
  RunDirectory directory(config.output_dir);
  const Stream stream = make_stream(config, &stop);
  const TextModel text(config.model_path);
  check_first_rows(config, text);
  fs::create_directories(directory.prepared());
  try {
    const fs::path dataset =
        arguments.dataset.empty() ? train_dataset_file(directory.prepared()) : arguments.dataset;
    const PreparedDataset train =
        load_dataset(prepare_options(config, config.train_dataset_path, training_split(config)), dataset,
                     text, stream, console);
    report_dataset(config.train_dataset_path, train, console);
    const ModelWeights weights = load_model(config.model_path, config.compute(), stream,
                                            WeightStorage::converted, config.quantisation());
    check_token_range(train.dataset, weights.config.vocab_size, config.train_dataset_path.front());
    CachePlan plan = plan_cache(config, weights, train.dataset, cache_type(config));
    plan.is_named = !arguments.cache.empty();
    plan.path = plan.is_named ? arguments.cache : cache_file(directory.prepared());
    const Backbone backbone(weights, config.compute());
    open_or_make_cache(plan, config, backbone, train.dataset, stream, console);
    fmt::print("{}\n", plan.path.string());
  } catch (const Stopped&) {
    directory.keep_prepared();  // whole shards, which the next start need not make again
    throw;
  }
  directory.keep();
  return 0;
}

}  // namespace gorgon
