#include "trainer/export.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "data/file.h"
#include "data/json.h"
#include "data/prompt_hashes.h"
#include "data/safetensors.h"
#include "kernels/error.h"
#include "kernels/philox.h"
#include "model/accepted_length.h"
#include "model/decoder.h"
#include "trainer/heads_file.h"
#include "trainer/output_file.h"
#include "trainer/run_directory.h"
#include "trainer/run_keys.h"
#include "trainer/traces.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kProbes = 16;       // random states whose logits are compared
constexpr size_t kProbePrompts = 8;   // answers over which accepted lengths are compared
constexpr int64_t kProbeTokens = 48;  // of each

// The tensors of an export by name.
std::vector<SafetensorsOutput> exported_tensors(const DraftHeads& heads, int64_t vocabulary) {
  std::vector<SafetensorsOutput> tensors;
  for (const DraftHeads::FullTensor& full : heads.full_tensors(vocabulary)) {
    const auto values = std::make_shared<const Tensor>(full.values.to(Device{}));
    std::vector<int64_t> shape;
    for (int i = 0; i < values->shape().rank(); ++i) shape.push_back(values->shape()[i]);
    tensors.push_back({full.name, values->type(), shape,
                       [values] { return std::span(values->data(), static_cast<size_t>(values->bytes())); }});
  }
  return tensors;
}

// States as large as those behind a final norm; any would do, these are the same everywhere.
Tensor probe_states(int64_t hidden, DType type, const Stream& stream) {
  std::vector<float> values(static_cast<size_t>(kProbes * hidden));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(philox(1, i)[0]) / 2147483648.0f - 1.0f;
  }
  Tensor states = Tensor::of(values, {kProbes, hidden});
  if (type == DType::bf16) {
    Tensor rounded(DType::bf16, {kProbes, hidden});
    for (size_t i = 0; i < values.size(); ++i) rounded.as<bf16>()[i] = bf16(values[i]);
    states = std::move(rounded);
  }
  return states.to(stream.device());
}

std::vector<float> head_logits(const DraftHeads& heads, int k, ConstView states, const Stream& stream) {
  Tensor logits(DType::f32, {states.rows(), heads.outputs()}, stream.device());
  heads.logits(k, states, logits.view(), stream);
  const Tensor host = logits.to(Device{});
  return {host.as<float>(), host.as<float>() + host.elements()};
}

// Largest |difference| of a logit that both know, relative to the largest logit.
double compare(const DraftHeads& run, const DraftHeads& exported, const Tensor& states,
               const Stream& stream) {
  double largest = 0, scale = 1e-30;
  for (int k = 0; k < run.count(); ++k) {
    const std::vector<float> expected = head_logits(run, k, states.view(), stream);
    const std::vector<float> found = head_logits(exported, k, states.view(), stream);
    for (int64_t row = 0; row < kProbes; ++row) {
      for (int64_t i = 0; i < run.outputs(); ++i) {
        const double z = expected[static_cast<size_t>(row * run.outputs() + i)];
        const double y = found[static_cast<size_t>(row * exported.outputs() + run.token(i))];
        scale = std::max(scale, std::abs(z));
        largest = std::isfinite(y) ? std::max(largest, std::abs(z - y)) : HUGE_VAL;
      }
    }
  }
  return largest / scale;
}

// What the backbone is asked, and what that is called.
struct Probe {
  std::vector<Prompt> prompts;
  std::vector<int32_t> stops;
  std::string name;
};

// The first prompts of the run's evaluation data; none where it has none, or they can no longer be read.
Probe evaluation_probe(const RunConfig& config, const ModelConfig& model) {
  Probe probe;
  if (config.eval_dataset_path.empty()) return probe;
  const std::string& file = config.eval_dataset_path.front().path;
  try {
    const TextModel text(config.model_path);
    probe.prompts = read_prompts({file}, text, model.vocab_size,
                                 model.max_position_embeddings - kProbeTokens - 1, config.columns)
                        .prompts;
    probe.stops = stop_tokens(text);
  } catch (const Error&) {
    return {};
  }
  if (probe.prompts.size() > kProbePrompts) probe.prompts.resize(kProbePrompts);
  probe.name = std::to_string(probe.prompts.size()) + " prompts of " + file;
  return probe;
}

// Single tokens spread over a pruned vocabulary: states of the real kind, which need no data.
Probe token_probe(const DraftHeads& run) {
  const std::vector<int32_t>& ids = run.vocab_ids();
  Probe probe;
  probe.prompts.resize(std::min(kProbePrompts, ids.size()));
  const size_t count = probe.prompts.size();
  for (size_t i = 0; i < count; ++i) probe.prompts[i].tokens = {ids[i * ids.size() / count]};
  probe.name = "what follows " + std::to_string(count) + " tokens that the heads keep";
  return probe;
}

void measure_acceptance(const FoundHeads& found, const ModelWeights& weights, const DraftHeads& run,
                        const DraftHeads& exported, const Stream& stream, const StageProgress& stage,
                        ExportReport& report) {
  const Backbone backbone(weights, run.compute());
  const fs::path tree_file = found.directory / kTreeFile;
  const TreeMatcher matcher(fs::exists(tree_file) ? read_tree(tree_file, run.count()).tree
                                                  : chain_tree(run.count()));
  Probe probe = evaluation_probe(found.config, weights.config);
  if (probe.prompts.empty()) probe = token_probe(run);
  DecoderOptions options;
  options.max_new_tokens = std::min(kProbeTokens, weights.config.max_position_embeddings - 2);
  options.stop_tokens = probe.stops;
  std::vector<WalkCounts> expected, reached;
  std::vector<HeadSums> ignored(static_cast<size_t>(run.count()));
  const std::vector<Prompt>& prompts = probe.prompts;
  const int64_t count = std::ssize(prompts);
  const DecodedSet decoded = decode_prompts(backbone, nullptr, options, prompts, count, stream,
                                            stage ? stage("answers", count) : CountProgress{});
  const CountProgress traced = stage ? stage("traces", count) : CountProgress{};
  for (size_t p = 0; p < prompts.size(); ++p) {
    Continuation answer;
    answer.tokens = decoded.answers[p].tokens;
    const Tensor states = answer_states(backbone, prompts[p].tokens, answer.tokens, stream);
    for (const auto& [heads, counts] : {std::pair(&run, &expected), std::pair(&exported, &reached)}) {
      answer.ranks = head_ranks(*heads, states.view(), answer.tokens, ignored, stream);
      counts->push_back(count_walk(simulate_walk(answer, matcher, run.count())));
    }
    if (traced) traced(static_cast<int64_t>(p) + 1);
  }
  report.measured_on = probe.name;
  report.run_accept_length = accept_length(expected);
  report.accept_length = accept_length(reached);
}

[[noreturn]] void refuse(const fs::path& file, const std::string& key, const std::string& expected,
                         const std::string& found) {
  fail(ExitCode::check_failed, {file.string(), key, expected, found, "nothing was exported"});
}

// An engine ignores a key that it does not know and misses one that is not there, both in silence.
void check_keys(const fs::path& file, const DraftHeads& heads) {
  const MappedFile mapped(file, ExitCode::checkpoint);
  const Safetensors found = parse_safetensors(mapped.bytes(), file.string(), ExitCode::checkpoint);
  size_t expected = 0;
  const auto need = [&](const std::string& key) {
    if (!found.tensors.contains(key)) refuse(file, key, "a tensor", "none");
    ++expected;
  };
  for (int k = 0; k < heads.count(); ++k) {
    const std::string head = std::to_string(k) + ".";
    for (int l = 0; l < heads.layers(); ++l) {
      need(head + std::to_string(l) + ".linear.weight");
      need(head + std::to_string(l) + ".linear.bias");
    }
    need(head + std::to_string(heads.layers()) + ".weight");
  }
  if (found.tensors.size() != expected) {
    refuse(file, "", std::to_string(expected) + " tensors", std::to_string(found.tensors.size()));
  }
}

void check_config(const fs::path& file, const DraftHeads& heads) {
  JsonOptions options;
  options.file = file.string();
  const Json json = parse_json(read_text(file, ExitCode::checkpoint), options);
  const auto check = [&](const std::string& key, int64_t expected) {
    if (json.value(key, int64_t{-1}) != expected) {
      refuse(file, key, std::to_string(expected), quote_value(json.value(key, Json()).dump()));
    }
  };
  for (const char* key : {"medusa_num_heads", "num_medusa_heads"}) check(key, heads.count());
  check("medusa_num_layers", heads.layers());
  if (json.contains("architectures"))
    refuse(file, "architectures", "no such key (it disables the heads)", "one");
}

// Files by which engines tokenise; a GGUF model has none to copy.
std::vector<std::string> copy_tokenizer(const fs::path& model, const fs::path& to) {
  std::vector<std::string> copied;
  if (!fs::is_directory(model)) return copied;
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "vocab.json",
        "merges.txt", "added_tokens.json", "chat_template.jinja"}) {
    if (!fs::exists(model / name)) continue;
    write_atomically(to / name, read_text(model / name, ExitCode::model));
    copied.emplace_back(name);
  }
  return copied;
}

// The run's tree; one made for the run's heads is for the exported ones, which draft the same.
void copy_tree(const FoundHeads& found, const fs::path& heads_file, const fs::path& to, int num_heads) {
  const fs::path from = found.directory / kTreeFile;
  TreeFile tree = read_tree(from, num_heads);
  const bool is_named = tree.made_from.is_object() && tree.made_from.contains("heads_sha256");
  if (!is_named || names_other_heads(tree, found.file)) {
    write_atomically(to, read_text(from, ExitCode::config));
    return;
  }
  tree.made_from["heads_sha256"] = sha256_of_file(heads_file, ExitCode::checkpoint);
  write_atomically(to, to_json(tree));
}

// A directory that becomes `final` when all went well and goes away otherwise.
class StagedDirectory {
 public:
  explicit StagedDirectory(const fs::path& final)
      : final_(final.has_filename() ? final : final.parent_path()),  // "DIR/"
        staged_(final_.string() + ".partial") {
    require_new_directory(final);
    fs::remove_all(staged_);
    fs::create_directories(staged_);
  }
  ~StagedDirectory() {
    if (published_) return;
    try {
      fs::remove_all(staged_);
    } catch (const std::exception&) {
      // left behind; the next export removes it
    }
  }
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  const fs::path& path() const { return staged_; }
  void publish() {
    fs::remove(final_);  // an empty directory
    fs::rename(staged_, final_);
    published_ = true;
    sync_directory(fs::absolute(final_).parent_path());
  }

 private:
  fs::path final_, staged_;
  bool published_ = false;
};

}  // namespace

ExportReport export_hf(const FoundHeads& found, const ModelWeights& weights, const fs::path& directory,
                       const Stream& stream, const StageProgress& stage) {
  const DType type = found.config.compute();
  const DraftHeads run = DraftHeads::load(found.file, weights.lm_head, type, stream);
  StagedDirectory staged(directory);
  const fs::path heads_file = staged.path() / kExportedHeadsFile, config_file = staged.path() / "config.json";
  write_safetensors(
      heads_file, exported_tensors(run, weights.config.vocab_size),
      {{"format", "pt"}, {"model_fingerprint", weights.fingerprint}, {kRunKeys, run_keys(found.config)}});
  MedusaOptions sizes = found.config.heads;
  sizes.num_heads = run.count();
  sizes.num_layers = run.layers();
  write_atomically(config_file, heads_config_json(sizes, weights.config, found.config.model_path, type));

  ExportReport report;
  report.heads = run.count();
  report.layers = run.layers();
  report.files = {kExportedHeadsFile, "config.json"};
  for (std::string& name : copy_tokenizer(found.config.model_path, staged.path())) {
    report.files.push_back(std::move(name));
  }
  if (fs::exists(found.directory / kTreeFile)) {
    copy_tree(found, heads_file, staged.path() / kTreeFile, run.count());
    report.files.emplace_back(kTreeFile);
  }
  if (const fs::path prompts = found.directory / kTrainedPrompts; fs::exists(prompts)) {
    PromptHashes::read(prompts).write(staged.path() / kTrainedPrompts);
    report.files.emplace_back(kTrainedPrompts);
  }
  check_keys(heads_file, run);
  check_config(config_file, run);
  const DraftHeads exported = DraftHeads::load(heads_file, weights.lm_head, type, stream);
  report.largest_difference =
      compare(run, exported, probe_states(weights.config.hidden_size, type, stream), stream);
  // Tensors that are copied give the same bits; merging rounds lm_head + B A once more.
  const double allowed = !run.is_merged_by_export() ? 0 : type == DType::bf16 ? 2e-2 : 1e-5;
  if (!(report.largest_difference <= allowed)) {
    refuse(heads_file, "logits", "the run's to " + std::to_string(allowed),
           std::to_string(report.largest_difference));
  }
  if (!run.vocab_ids().empty()) measure_acceptance(found, weights, run, exported, stream, stage, report);
  staged.publish();
  return report;
}

}  // namespace gorgon
