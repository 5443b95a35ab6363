#include <chrono>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "data/file.h"
#include "kernels/error.h"
#include "kernels/instruction_set.h"
#include "kernels/profile.h"
#include "trainer/answer_origin.h"
#include "trainer/checkpoint.h"
#include "trainer/commands.h"
#include "trainer/data_sets.h"
#include "trainer/head_sizes.h"
#include "trainer/heads_file.h"
#include "trainer/memory_plan.h"
#include "trainer/parallel_heads.h"
#include "trainer/profile_table.h"
#include "trainer/rank_agreement.h"
#include "trainer/report_page.h"
#include "trainer/run_config.h"
#include "trainer/run_directory.h"
#include "trainer/run_source.h"
#include "trainer/run_stream.h"
#include "trainer/state_caching.h"
#include "trainer/training_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

// Error(checkpoint) when the directory's run was started with other keys that shape its result.
void check_same_config(const RunConfig& saved, const RunConfig& now, const fs::path& where) {
  const std::vector<std::string> differing = differing_keys(saved, now);
  if (differing.empty()) return;
  fail(ExitCode::checkpoint,
       {where.string(), "", "the run that is there already", fmt::format("{}", fmt::join(differing, "; ")),
        "choose another output_dir, or --force to start over"});
}

RunConfig saved_config(const std::string& text, const fs::path& file) {
  try {
    return parse_config(text, file.string(), {}).config;
  } catch (const Error& error) {
    throw Error(ExitCode::checkpoint, error.what());
  }
}

bool is_finished(const RunDirectory& directory) {
  return fs::exists(directory.path() / kHeadsFile) && fs::exists(directory.path() / "config.yaml");
}

void say_done(const RunDirectory& directory, Console& console) {
  console.info("this run is done; --force starts over, gorgon eval measures it");
  fmt::print("{}\n", (directory.path() / kHeadsFile).string());
}

// What config.yaml says of the run in the directory must be what it is now.
void check_started_run(const RunDirectory& directory, const RunConfig& config) {
  const fs::path file = directory.path() / "config.yaml";
  if (!fs::exists(file)) return;
  check_same_config(saved_config(read_text(file, ExitCode::checkpoint), file), config, directory.path());
}

// Where to go on; empty = from the start.
fs::path checkpoint_to_resume(const TrainArguments& arguments, const RunConfig& config,
                              RunDirectory& directory, Console& console) {
  if (arguments.force) return {};
  directory.refuse_foreign_files();
  if (arguments.resume == "never") {
    if (!directory.holds_run()) return {};
    fail(ExitCode::config,
         {directory.path().string(), "output_dir", "an empty directory, with --resume never",
          "an earlier run", "leave --resume out to go on, or --force to start over"});
  }
  for (const std::string& name : remove_leftovers(directory.path())) {
    console.info("removed " + name + ", which an interrupted run left behind");
  }
  fs::path checkpoint = arguments.resume;
  if (arguments.resume == "auto") {
    checkpoint = newest_checkpoint(directory.path(), [&](const std::string& text) { console.warn(text); });
    if (checkpoint.empty()) {
      check_started_run(directory, config);
      return {};
    }
  } else {
    verify_checkpoint(checkpoint);
  }
  const TrainingState state = load_training_state(checkpoint);
  check_same_config(saved_config(state.config, checkpoint / "state.json"), config, checkpoint);
  return checkpoint;
}

// What lies behind the step a run goes on from would be taken for newer than what it will write, finished
// heads included.
void drop_later(const RunDirectory& directory, const fs::path& checkpoint, Console& console) {
  if (checkpoint.empty()) return;
  fs::remove(directory.path() / kHeadsFile);
  const int64_t step = load_training_state(checkpoint).step;
  for (const CheckpointName& later : list_checkpoints(directory.path())) {
    if (later.step <= step) continue;
    fs::remove_all(later.path);
    console.info("removed " + later.path.string() + ", which is behind the step this run goes on from");
  }
}

std::vector<EvalSet> load_evals(const RunConfig& config, const RunDirectory& directory, const TextModel& text,
                                const ModelConfig& model, const Stream& stream, Console& console) {
  std::vector<EvalSet> evals;
  for (const NamedPath& eval : config.eval_dataset_path) {
    PreparedDataset prepared =
        load_dataset(prepare_options(config, {eval.path}), eval_dataset_file(directory.prepared(), eval.name),
                     text, stream, console);
    report_dataset({eval.path}, prepared, console);
    check_token_range(prepared.dataset, model.vocab_size, eval.path);
    evals.push_back({eval.name, std::move(prepared.dataset), {}});
  }
  return evals;
}

PreparedDataset load_train(const TrainArguments& arguments, const RunConfig& config,
                           const RunDirectory& directory, const TextModel& text, const ModelConfig& model,
                           const Stream& stream, Console& console) {
  const fs::path path =
      arguments.dataset.empty() ? train_dataset_file(directory.prepared()) : arguments.dataset;
  PreparedDataset prepared =
      load_dataset(prepare_options(config, config.train_dataset_path, training_split(config)), path, text,
                   stream, console);
  report_dataset(config.train_dataset_path, prepared, console);
  check_token_range(prepared.dataset, model.vocab_size, config.train_dataset_path.front());
  return prepared;
}

// What the accepted length is measured on, where the run asks for it.
void load_answers(const RunConfig& config, const RunDirectory* directory, const TextModel& text,
                  const ModelWeights& weights, const Stream& stream, RankShare& share,
                  std::vector<EvalSet>& evals, Console& console) {
  if (!is_accept_length(config.metric_for_best_model)) return;
  const Backbone backbone(weights, config.compute());
  for (size_t i = 0; i < evals.size(); ++i) {
    OwnAnswersRequest request;
    request.columns = config.columns;
    request.files = {config.eval_dataset_path[i].path};
    if (directory != nullptr) request.kept = own_answers_file(directory->prepared(), evals[i].name);
    request.origin = answer_origin(weights.fingerprint, config, text);
    evals[i].answers = load_own_answers(backbone, text, request, stream, share, console);
  }
}

void check_sequence_length(const RunConfig& config, const ModelConfig& model) {
  if (config.max_seq_length <= model.max_position_embeddings) return;
  fail(ExitCode::config, {config.model_path, "max_seq_length",
                          fmt::format("at most the model's {} positions", model.max_position_embeddings),
                          std::to_string(config.max_seq_length), ""});
}

// What a run reads, in the order in which mistakes are told soonest: headers and first rows, then all rows,
// then the weights.
struct RunData {
  std::vector<EvalSet> evals;
  Dataset train;
  PromptHashes prompts;  // of the training data; rank 0's
  ModelWeights weights;
  std::vector<int32_t> vocab_ids;
};

// Rank 0, which alone has a `directory`, reads the data, and gives it to the others.
void load_data_sets(const TrainArguments& arguments, const RunConfig& config, const RunDirectory* directory,
                    const TextModel& text, const ModelConfig& model, const Stream& stream, Console& console,
                    RankGroup& ranks, RunData& data) {
  if (directory != nullptr) {
    fs::create_directories(directory->prepared());
    data.evals = load_evals(config, *directory, text, model, stream, console);
    PreparedDataset train = load_train(arguments, config, *directory, text, model, stream, console);
    data.train = std::move(train.dataset);
    data.prompts = std::move(train.prompts);
  }
  data.evals.resize(config.eval_dataset_path.size());
  for (size_t i = 0; i < data.evals.size(); ++i) {
    data.evals[i].name = config.eval_dataset_path[i].name;
    broadcast_dataset(ranks, data.evals[i].dataset);
  }
  broadcast_dataset(ranks, data.train);
}

// Heads with Linears of their own read lm_head once, when they begin as its copies; then only decoding
// multiplies with it.
WeightStorage storage_for(const RunConfig& config) {
  const bool decodes = is_accept_length(config.metric_for_best_model);
  const bool multiplies = config.heads.linear != HeadLinear::own || decodes;
  return multiplies ? WeightStorage::converted : WeightStorage::compact_tables;
}

// Before anything long begins: other ranks' data files, where there are any, are rank 0's.
void check_same_files(const TrainArguments& arguments, const RunConfig& config, RankGroup& ranks) {
  if (!ranks.is_several()) return;
  std::vector<NamedValue> files;
  if (arguments.dataset.empty()) {
    files.push_back({"train_dataset_path", data_fingerprint(config.train_dataset_path), true});
  }
  for (const NamedPath& eval : config.eval_dataset_path) {
    files.push_back({"eval_dataset_path " + eval.name, data_fingerprint({eval.path}), true});
  }
  check_same_data(ranks, files);
}

void load_weights(const RunConfig& config, const Stream& stream, RankGroup& ranks, RunData& data) {
  data.weights =
      load_model(config.model_path, config.compute(), stream, storage_for(config), config.quantisation());
  check_same_model(ranks, data.weights);
}

// `directory`: rank 0's. Several ranks learn before the data is prepared that their models differ.
RunData load_run_data(const TrainArguments& arguments, const RunConfig& config, RunDirectory* directory,
                      const Stream& stream, Console& console, RankShare& share) {
  RankGroup& ranks = share.ranks();
  const ModelConfig model = check_model(config.model_path);
  check_sequence_length(config, model);
  check_head_sizes(config, model);
  RunData data;
  try {
    ranks.set_patience(kPatience);
    const TextModel text(config.model_path);
    check_same_text(ranks, text.tokenizer);
    if (directory != nullptr) check_first_rows(config, text);
    check_same_files(arguments, config, ranks);
    if (ranks.is_several()) load_weights(config, stream, ranks, data);
    load_data_sets(arguments, config, directory, text, model, stream, console, ranks, data);
    if (!ranks.is_several()) load_weights(config, stream, ranks, data);
    ranks.set_deadline(static_cast<double>(config.ddp_timeout));
    load_answers(config, directory, text, data.weights, stream, share, data.evals, console);
  } catch (const Stopped&) {
    if (directory != nullptr) directory->keep_prepared();  // whole files; the next run need not make them
    throw;
  }
  data.vocab_ids = vocabulary_of(config, data.train, data.weights.lm_head.rows, console);
  if (directory != nullptr) directory->keep();
  return data;
}

// The states of the training data, where the run reads them from a cache. `config` says so from then on, in
// its config.yaml too; a run that goes on keeps to what it began with.
std::unique_ptr<CacheReader> cache_of(const TrainArguments& arguments, const fs::path& checkpoint,
                                      const RunDirectory& directory, const RunData& data,
                                      const Stream& stream, RunConfig& config, Console& console) {
  if (config.state_cache == StateCache::automatic && !checkpoint.empty()) {
    const TrainingState state = load_training_state(checkpoint);
    config.state_cache = saved_config(state.config, checkpoint / "state.json").state_cache;
  }
  CachePlan plan = plan_cache(config, data.weights, data.train, cache_type(config));
  plan.is_named = !arguments.cache.empty();
  plan.path = plan.is_named ? arguments.cache : cache_file(directory.prepared());
  config.state_cache = resolve_state_cache(config, plan, data.train.sequences(), console);
  if (config.state_cache == StateCache::off) return nullptr;
  const Backbone backbone(data.weights, config.compute());
  return open_or_make_cache(plan, config, backbone, data.train, stream, console);
}

// Whether there is anything to do, and where to go on: rank 0 looks, all learn.
struct Start {
  bool finished = false;
  fs::path checkpoint;  // empty = from the start
};

Start find_start(const TrainArguments& arguments, const RunConfig& config, RunDirectory* directory,
                 Console& console, RankGroup& ranks) {
  constexpr const char* kFinished = "finished";
  Start start;
  if (directory != nullptr) {
    start.finished = !arguments.force && arguments.resume == "auto" && is_finished(*directory);
    if (start.finished) {
      check_started_run(*directory, config);
      say_done(*directory, console);
    } else {
      start.checkpoint = checkpoint_to_resume(arguments, config, *directory, console);
    }
  }
  if (!ranks.is_several()) return start;
  const std::string said = broadcast_text(
      ranks.host(), start.finished ? kFinished : "at " + start.checkpoint.string(), "where the run starts");
  start.finished = said == kFinished;
  if (!start.finished) start.checkpoint = said.substr(3);
  return start;
}

// The number of sequences of a step does not change behind a run's back when the ranks do; a cache of states
// is one process's.
void settle_for_ranks(RunConfig& config, const TrainArguments& arguments, int ranks) {
  if (ranks == 1) return;
  if (config.global_batch_size == 0) config.global_batch_size = config.global_batch() * ranks;
  const bool cached = config.state_cache != StateCache::automatic && config.state_cache != StateCache::off;
  if (cached || !arguments.cache.empty() || config.order == RowOrder::rows) {
    fail(ExitCode::config, {"", "state_cache", "off or auto, and order: document, where several ranks work",
                            "a run from a cache", "start one process, or take the cache out"});
  }
  config.state_cache = StateCache::off;
}

std::function<bool()> stop_wanted(const StopSignal& stop, int64_t max_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end =
      max_seconds > 0 ? Clock::now() + std::chrono::seconds(max_seconds) : Clock::time_point::max();
  return [&stop, end] { return stop.requested() || Clock::now() >= end; };
}

// Whether heads are divided over the ranks; all come to the same answer.
bool divides_heads(const RunConfig& config, const RunData& data, RankGroup& ranks, Device device,
                   Console& console) {
  if (!ranks.is_several()) return false;
  const ModelConfig& model = data.weights.config;
  const int64_t outputs = data.vocab_ids.empty() ? data.weights.lm_head.rows : std::ssize(data.vocab_ids);
  const std::optional<int64_t> free = free_bytes(device);
  const int64_t wanted = plan_heads_memory(config, model, outputs, ranks.size()) *
                         (device.kind == DeviceKind::cpu ? ranks.local_size() : 1);
  std::vector<int64_t> too_little{free && *free < wanted ? 1 : 0};
  all_reduce(ranks.host(), too_little, ReduceOp::max, "memory");
  const StepRows step =
      mean_step(data.train, config.heads.num_heads, config.steps_per_epoch(data.train.sequences()));
  const ParallelChoice choice = resolve_parallel_heads(
      config.parallel_heads, {config.heads, model.hidden_size, outputs, config.compute()}, step,
      too_little[0] == 0, ranks.size());
  if (!choice.reason.empty()) console.info(choice.reason);
  return choice.mode == ParallelHeads::vocab;
}

// Trains; with `wanted`, prints where the time of the steps went, also of a run that is stopped.
void train_profiled(TrainingRun& run, bool wanted, Stream& stream) {
  std::optional<Profile> profile;
  if (wanted) stream.set_profile(&profile.emplace());
  const auto end_profile = [&] {
    stream.set_profile(nullptr);
    if (profile) fmt::print("{}", profile_table(*profile));
  };
  try {
    run.train();
  } catch (const Stopped&) {
    end_profile();
    throw;
  }
  end_profile();
}

void print_results(const TrainingRun& run, const RunDirectory& directory,
                   const std::vector<NamedEvaluation>& evaluations) {
  fmt::print("trained {}\n", count_of(run.steps(), "step"));
  for (const auto& [name, evaluation] : evaluations) fmt::print("{}", evaluation_table(name, evaluation));
  fmt::print("{}\n", (directory.path() / kHeadsFile).string());
}

}  // namespace

int train_command(const TrainArguments& arguments, Console& console, const StopSignal& stop,
                  RankGroup& ranks) {
  const LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  RunConfig config = loaded.config;
  settle_for_ranks(config, arguments, ranks.size());
  for (const std::string& note : loaded.notes) console.info(note);
  check_model_path(config.model_path);
  ranks.set_deadline(static_cast<double>(config.ddp_timeout));
  check_same_config(ranks, config);
  std::optional<RunDirectory> directory;
  if (ranks.is_first()) directory.emplace(config.output_dir);
  RunDirectory* own = directory ? &*directory : nullptr;
  const Start start = find_start(arguments, config, own, console, ranks);
  if (start.finished) return 0;
  if (ranks.is_several()) console.place_rank_log(fs::path(config.output_dir) / kLogs, ranks.rank());

  Stream stream = make_stream(config, &stop, ranks, std::chrono::seconds(config.max_run_time));
  if (stream.device().kind == DeviceKind::cpu) console.info("instruction set: " + instruction_set_text());
  RankShare share(ranks, stop_wanted(stop, config.max_run_time));
  const RunData data = load_run_data(arguments, config, own, stream, console, share);
  std::unique_ptr<CacheReader> cache;
  if (!ranks.is_several()) cache = cache_of(arguments, start.checkpoint, *own, data, stream, config, console);
  const bool divided = divides_heads(config, data, ranks, stream.device(), console);
  config.overlap_backbone =
      cache == nullptr && !divided && can_overlap(config, data.weights.config, stream.device(), console);
  const RunInputs inputs{config,      data.weights, data.train, data.evals, data.vocab_ids,
                         cache.get(), stream,       ranks,      divided,    share};
  // Not before all that the new run needs is there.
  if (arguments.force && own != nullptr) own->clear();
  TrainingRun run(inputs, config.output_dir, start.checkpoint, console);
  if (own != nullptr) {
    drop_later(*own, start.checkpoint, console);
    data.prompts.write(own->path() / kTrainedPrompts);
  }
  train_profiled(run, arguments.profile && ranks.is_first(), stream);
  const std::vector<NamedEvaluation> evaluations = run.finish();
  if (own == nullptr) return 0;
  write_report(own->path());
  print_results(run, *own, evaluations);
  return 0;
}

}  // namespace gorgon
