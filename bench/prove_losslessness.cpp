// Drafts change nothing: in f32 every token is that of plain greedy decoding, and every step accepts what the
// simulated walk says. Many prompts at a time, since a row is the same alone and in company, to the bit.
//   prove_losslessness RUN RESULT.json PROMPTS.jsonl...      RUN with its tree.json; ends with 9 where a
//   token
//                                                            or a step differs
#include <cstdio>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/file.h"
#include "kernels/error.h"
#include "model/tree_file.h"
#include "trainer/decode_inputs.h"
#include "trainer/traces.h"

namespace gorgon::bench {
namespace {

constexpr int64_t kPlainBatch = 16, kTreeBatch = 4;
constexpr int64_t kMaxNewTokens = 128;
constexpr uint64_t kBootstrapSeed = 1;

class Proof {
 public:
  Proof(const std::string& run, const std::vector<std::string>& files)
      : inputs_(run, "", "f32", "", console_, nullptr),
        tree_(find_tree(inputs_.found, "", inputs_.heads.count(), console_)),
        set_(read_prompts(files, inputs_.text, inputs_.weights.config.vocab_size,
                          inputs_.weights.config.max_position_embeddings - 1)) {}

  nlohmann::ordered_json run() {
    const DecodedSet plain = decode("plain", chain_tree(0), kPlainBatch);
    trace(plain);
    const DecodedSet drafted = decode("tree", tree_, kTreeBatch);
    nlohmann::ordered_json json;
    json["prompts"] = set_.prompts.size();
    json["data_sha256"] = set_.sha256;
    json["tree"] = {{"nodes", tree_.nodes()}, {"sha256", tree_sha256(tree_)}};
    compare(plain, drafted, json);
    json["cap"] = kMaxNewTokens;
    json["dtype"] = "f32";
    json["device"] =
        fmt::format("{}, {} cores", to_string(inputs_.stream.device()), std::thread::hardware_concurrency());
    json["heads_sha256"] = sha256_of_file(inputs_.found.file, ExitCode::checkpoint);
    json["model_fingerprint"] = inputs_.weights.fingerprint;
    json["version"] = GORGON_VERSION;
    return json;
  }

 private:
  DecodedSet decode(const std::string& label, const DraftTree& tree, int64_t batch) {
    DecoderOptions options;
    options.tree = tree;
    options.max_new_tokens = kMaxNewTokens;
    options.stop_tokens = stop_tokens(inputs_.text);
    Progress progress(console_, label, std::ssize(set_.prompts));
    return decode_prompts(inputs_.backbone, &inputs_.heads, options, set_.prompts, batch, inputs_.stream,
                          [&](int64_t done) { progress.update(done, ""); });
  }

  void trace(const DecodedSet& plain) {
    Progress progress(console_, "trace", std::ssize(set_.prompts));
    sums_.resize(static_cast<size_t>(inputs_.heads.count()));
    for (size_t p = 0; p < set_.prompts.size(); ++p) {
      traces_.push_back(trace_answer(inputs_.backbone, inputs_.heads, set_.prompts[p].tokens,
                                     plain.answers[p].tokens, LookupOptions{}, sums_, inputs_.stream)
                            .continuation);
      progress.update(static_cast<int64_t>(p) + 1, "");
    }
  }

  void compare(const DecodedSet& plain, const DecodedSet& drafted, nlohmann::ordered_json& json) const {
    const int heads = inputs_.heads.count();
    const TreeMatcher tree(tree_), chain(chain_tree(heads));
    std::vector<WalkCounts> measured, simulated, chains;
    int64_t tokens = 0, other_tokens = 0, other_steps = 0;
    for (size_t p = 0; p < traces_.size(); ++p) {
      const std::vector<int32_t> walk = simulate_walk(traces_[p], tree, heads);
      tokens += traces_[p].length();
      other_tokens += plain.answers[p].tokens == drafted.answers[p].tokens ? 0 : 1;
      other_steps += walk == drafted.answers[p].emitted ? 0 : 1;
      measured.push_back(count_walk(drafted.answers[p].emitted));
      simulated.push_back(count_walk(walk));
      chains.push_back(count_walk(simulate_walk(traces_[p], chain, heads)));
    }
    json["tokens"] = tokens;
    json["prompts_with_other_tokens"] = other_tokens;
    json["prompts_with_other_steps"] = other_steps;
    json["holds"] = other_tokens == 0 && other_steps == 0;
    const auto tau = [&](const std::vector<WalkCounts>& counts) {
      const auto interval = bootstrap_interval(counts, kBootstrapSeed);
      return nlohmann::ordered_json{{"tau", accept_length(counts)},
                                    {"ci95", {interval.first, interval.second}}};
    };
    json["chain_simulated"] = tau(chains);
    json["tree_simulated"] = tau(simulated);
    json["tree_measured"] = tau(measured);
    for (const HeadSums& head : sums_) {
      nlohmann::ordered_json top = nlohmann::ordered_json::array();
      for (const int64_t hits : head.top)
        top.push_back(static_cast<double>(hits) / static_cast<double>(head.count));
      json["heads"].push_back({{"top1_to_5", top}, {"count", head.count}});
    }
    json["prefix"] = prefix_accuracies(traces_, heads);
  }

  Console console_;
  DecodeInputs inputs_;
  DraftTree tree_;
  PromptSet set_;
  std::vector<HeadSums> sums_;
  std::vector<Continuation> traces_;
};

}  // namespace
}  // namespace gorgon::bench

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 3) {
    fmt::print(stderr, "usage: prove_losslessness RUN RESULT.json PROMPTS.jsonl...\n");
    return static_cast<int>(gorgon::ExitCode::config);
  }
  try {
    const std::vector<std::string> files(arguments.begin() + 2, arguments.end());
    nlohmann::ordered_json json = {
        {"command", fmt::format("prove_losslessness {}", fmt::join(arguments, " "))}};
    json.update(gorgon::bench::Proof(arguments[0], files).run());
    gorgon::write_atomically(arguments[1], json.dump(1) + "\n");
    fmt::print("{} prompts, {} tokens: {}\n", json["prompts"].get<int64_t>(), json["tokens"].get<int64_t>(),
               json["holds"].get<bool>() ? "every token and every step equal" : "NOT EQUAL");
    return json["holds"].get<bool>() ? 0 : static_cast<int>(gorgon::ExitCode::check_failed);
  } catch (const gorgon::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
