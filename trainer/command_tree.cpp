#include <algorithm>

#include <fmt/format.h>

#include "data/file.h"
#include "data/prompt_hashes.h"
#include "model/tree_construction.h"
#include "model/tree_file.h"
#include "trainer/commands.h"
#include "trainer/decode_inputs.h"
#include "trainer/output_file.h"
#include "trainer/report_page.h"
#include "trainer/seen_prompts.h"
#include "trainer/step_costs.h"
#include "trainer/traces.h"

namespace gorgon {
namespace {

constexpr int64_t kMostNodes = 64;     // as many as the reference implementation verifies
constexpr int64_t kDecodeBatch = 8;    // of the calibration answers
constexpr int64_t kCostContext = 256;  // tokens before the step that is timed

std::vector<Continuation> calibrate(const DecodeInputs& inputs, const PromptSet& set, int64_t max_new_tokens,
                                    Console& console) {
  DecoderOptions options;
  options.max_new_tokens = max_new_tokens;
  options.stop_tokens = stop_tokens(inputs.text);
  const int64_t prompts = std::ssize(set.prompts);
  DecodedSet decoded;
  {
    Progress progress(console, "answers", prompts);
    decoded = decode_prompts(inputs.backbone, nullptr, options, set.prompts, kDecodeBatch, inputs.stream,
                             [&](int64_t done) { progress.update(done, ""); });
  }
  Progress progress(console, "traces", prompts);
  std::vector<Continuation> continuations;
  std::vector<HeadSums> sums(static_cast<size_t>(inputs.heads.count()));
  for (size_t p = 0; p < set.prompts.size(); ++p) {
    continuations.push_back(trace_answer(inputs.backbone, inputs.heads, set.prompts[p].tokens,
                                         decoded.answers[p].tokens, LookupOptions{}, sums, inputs.stream)
                                .continuation);
    progress.update(static_cast<int64_t>(p) + 1, "");
  }
  return continuations;
}

// Share of the walk's steps at which each path of the tree is right.
std::vector<double> path_probability(const std::vector<Continuation>& continuations, const DraftTree& tree,
                                     int heads) {
  const TreeMatcher matcher(tree);
  std::vector<double> right(tree.paths.size(), 0.0);
  double steps = 0;
  for (const Continuation& c : continuations) {
    int64_t position = 0;
    for (const int32_t emitted : simulate_walk(c, matcher, heads)) {
      const auto ranks = c.ranks_at(position, heads);
      for (size_t p = 0; p < right.size(); ++p) {
        right[p] += std::equal(tree.paths[p].begin(), tree.paths[p].end(), ranks.begin()) ? 1 : 0;
      }
      position += emitted;
      steps += 1;
    }
  }
  for (double& count : right) count /= std::max(steps, 1.0);
  return right;
}

double tau_of(const std::vector<Continuation>& continuations, const DraftTree& tree, int heads) {
  const TreeMatcher matcher(tree);
  std::vector<WalkCounts> counts;
  for (const Continuation& c : continuations) counts.push_back(count_walk(simulate_walk(c, matcher, heads)));
  return accept_length(counts);
}

std::string comparison(const std::string& what, const DraftTree& tree, const std::vector<Continuation>& data,
                       const StepCosts& costs, int heads) {
  const double tau = tau_of(data, tree, heads), seconds = costs.seconds(tree.nodes(), tree.depth());
  return fmt::format("{:<32} {:>3} nodes, tau {:.3f}, {:.1f} tokens/s expected\n", what, tree.nodes(), tau,
                     tau / seconds);
}

PromptHashes hashes_of(const PromptSet& set) {
  std::vector<uint64_t> hashes;
  for (const Prompt& prompt : set.prompts) hashes.push_back(prompt_hash(prompt.text));
  return PromptHashes(std::move(hashes));
}

}  // namespace

int tree_command(const TreeArguments& arguments, Console& console, const StopSignal& stop) {
  require_writable(arguments.output);
  require_readable(arguments.data, {});
  const DecodeInputs inputs(arguments.heads, arguments.model, arguments.dtype, arguments.heads_dtype, console,
                            &stop);
  const int heads = inputs.heads.count();
  const PromptSet set = read_split(inputs, arguments.data, Split::calibration, arguments.limit, console);
  require_prompts(set, arguments.data.front());
  if (set.prompts.size() < 100) {
    console.warn(fmt::format("{} prompts are few to choose a tree by; 300 are better", set.prompts.size()));
  }
  const SeenPrompts seen{std::ssize(set.prompts), count_trained(inputs.found, set.prompts), {}};
  for (const std::string& line : describe(seen)) console.warn(line);
  const auto continuations = calibrate(inputs, set, arguments.max_new_tokens, console);
  const StepCosts costs =
      measure_step_costs(inputs.backbone, inputs.heads, kCostContext, kMostNodes, inputs.stream);
  const TreeChoice choice = best_tree(continuations, heads, costs, kMostNodes);

  TreeFile file;
  file.tree = choice.tree;
  file.expected_accept_length = choice.accept_length;
  file.made_from = {{"data_sha256", set.sha256},
                    {"prompts", set.prompts.size()},
                    {"prompt_hashes", hashes_of(set).hex()},
                    {"model_fingerprint", inputs.weights.fingerprint},
                    {"heads_sha256", sha256_of_file(inputs.found.file, ExitCode::checkpoint)},
                    {"dtype", std::string(name(inputs.compute))},
                    {"device", to_string(inputs.stream.device())},
                    {"path_probability", path_probability(continuations, choice.tree, heads)},
                    {"verify_seconds", costs.verify},
                    {"head_seconds", costs.heads},
                    {"version", GORGON_VERSION}};
  write_atomically(arguments.output, to_json(file));
  if (inputs.found.is_finished_run(arguments.heads)) write_report(arguments.heads);

  const auto marginals = marginal_accuracies(continuations, heads, 10);
  fmt::print(
      "{}{}{}", comparison("chosen", choice.tree, continuations, costs, heads),
      comparison("chain", chain_tree(heads), continuations, costs, heads),
      comparison("greedy from marginals, 63 paths", greedy_tree(marginals, 63), continuations, costs, heads));
  fmt::print("plain decoding: {:.1f} tokens/s expected\nwrote {}\n", 1 / costs.seconds(1, 0),
             arguments.output.string());
  return 0;
}

}  // namespace gorgon
