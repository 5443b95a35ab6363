#include "trainer/own_answers.h"

#include <algorithm>

#include <fmt/format.h>

#include "data/data_files.h"
#include "data/file.h"
#include "data/json.h"
#include "kernels/error.h"
#include "trainer/distill.h"
#include "trainer/rank_agreement.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

// What FILE.distill.json says about a file; null where there is none or it is no JSON.
Json distilled_with(const fs::path& file) {
  const fs::path path = file.string() + ".distill.json";
  if (!fs::exists(path)) return nullptr;
  return Json::parse(read_text(path, ExitCode::data), nullptr, false);
}

// By whom and how they were answered counts, not how the prompts were read (columns, the data's hash): they
// stand in the file as tokens.
bool is_own(const std::vector<std::string>& files, const nlohmann::ordered_json& origin) {
  const std::vector<fs::path> paths = expand_data_files(files);
  return std::all_of(paths.begin(), paths.end(), [&](const fs::path& path) {
    const Json with = distilled_with(path);
    if (!with.is_object() || with.value("temperature", Json()) != 0) return false;
    return std::all_of(origin.items().begin(), origin.items().end(), [&](const auto& item) {
      return with.value(item.key(), Json()) == Json(item.value());
    });
  });
}

PromptSet prompts_of(const Backbone& backbone, const TextModel& text, const std::vector<std::string>& files,
                     const OwnAnswersRequest& request) {
  const ModelConfig& model = backbone.config();
  PromptSet set =
      read_prompts(files, text, model.vocab_size, model.max_position_embeddings - 1, request.columns);
  if (std::ssize(set.prompts) > request.max_prompts)
    set.prompts.resize(static_cast<size_t>(request.max_prompts));
  return set;
}

std::vector<OwnAnswer> answers_of(PromptSet set, int64_t max_new_tokens) {
  std::vector<OwnAnswer> answers;
  for (Prompt& prompt : set.prompts) {
    if (prompt.answer.empty()) continue;
    if (std::ssize(prompt.answer) > max_new_tokens) prompt.answer.resize(static_cast<size_t>(max_new_tokens));
    answers.push_back({std::move(prompt.tokens), std::move(prompt.answer)});
  }
  return answers;
}

std::string identity(const OwnAnswersRequest& request, const PromptSet& set, DType compute) {
  nlohmann::ordered_json json = request.origin;
  json["data_sha256"] = set.sha256;
  json["columns"] = request.columns;
  json["prompts"] = set.prompts.size();
  json["dtype"] = name(compute);
  json["max_new_tokens"] = request.max_new_tokens;
  json["temperature"] = 0;
  json["version"] = GORGON_VERSION;
  return json.dump(2) + "\n";
}

// Answers of other data, of another model, or (but for f32) begun by a run that was interrupted: which
// prompts share a batch may decide a tie in bf16, and the answers must not depend on interruptions.
void remove_other(const fs::path& kept, const std::string& wanted, DType compute) {
  const fs::path says = kept.string() + ".distill.json";
  const bool same = fs::exists(says) && read_text(says, ExitCode::data) == wanted;
  if (!same) fs::remove(kept);
  if (!same || compute != DType::f32) fs::remove(kept.string() + ".partial");
}

void broadcast_answers(RankGroup& ranks, std::vector<OwnAnswer>& answers) {
  std::vector<std::vector<int32_t>> lists;
  for (OwnAnswer& answer : answers) {
    lists.push_back(std::move(answer.prompt));
    lists.push_back(std::move(answer.tokens));
  }
  broadcast_tokens(ranks, lists);
  answers.clear();
  for (size_t i = 0; i < lists.size(); i += 2)
    answers.push_back({std::move(lists[i]), std::move(lists[i + 1])});
}

// Makes the file of kept answers, where it is not whole; `set` and the file are rank 0's.
void make_answers(const Backbone& backbone, const TextModel& text, const OwnAnswersRequest& request,
                  const PromptSet& set, const Stream& stream, RankShare& share, Console& console) {
  DistillOptions options;
  options.decoder.max_new_tokens = request.max_new_tokens;
  options.decoder.stop_tokens = stop_tokens(text);
  if (share.ranks().is_first()) {
    options.identity = identity(request, set, backbone.compute());
    remove_other(request.kept, options.identity, backbone.compute());
    if (!fs::exists(request.kept)) {
      console.info(
          fmt::format("{}: the model answers {} prompts itself, at most {} tokens each, once: the accepted "
                      "length is measured on its own answers (metric_for_best_model: eval_loss goes without)",
                      request.files.front(), set.prompts.size(), request.max_new_tokens));
    }
  }
  Progress progress(console, "own answers", std::ssize(set.prompts));
  distill(backbone, set.prompts, text.tokenizer, options, request.kept, stream, share, &progress);
}

}  // namespace

std::vector<OwnAnswer> load_own_answers(const Backbone& backbone, const TextModel& text,
                                        const OwnAnswersRequest& request, const Stream& stream,
                                        RankShare& share, Console& console) {
  RankGroup& ranks = share.ranks();
  std::vector<OwnAnswer> answers;
  PromptSet set;
  bool has_own = false;
  if (ranks.is_first()) {
    set = prompts_of(backbone, text, request.files, request);
    has_own = is_own(request.files, request.origin);
  }
  std::vector<int64_t> to_make{has_own ? 0 : std::ssize(set.prompts)};
  all_reduce(ranks.host(), to_make, ReduceOp::max, "the prompts");
  if (to_make[0] > 0) {
    make_answers(backbone, text, request, set, stream, share, console);
    if (ranks.is_first()) set = prompts_of(backbone, text, {request.kept.string()}, request);
  }
  if (to_make[0] > 0 || has_own) answers = answers_of(std::move(set), request.max_new_tokens);
  broadcast_answers(ranks, answers);
  return answers;
}

}  // namespace gorgon
