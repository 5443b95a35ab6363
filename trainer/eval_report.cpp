#include "trainer/eval_report.h"

#include <algorithm>

#include <fmt/format.h>

#include "trainer/eval_verdict.h"

namespace gorgon {
namespace {

using OrderedJson = nlohmann::ordered_json;

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

double mean_loss(const HeadSums& sums) {
  return sums.inside == 0 ? 0.0 : sums.cross_entropy / static_cast<double>(sums.inside);
}

OrderedJson value_if(bool known, const OrderedJson& value) {
  return known ? value : OrderedJson();
}

OrderedJson speed_json(const DecodeEvaluation& evaluation, const DraftResult& result) {
  const Speed& speed = result.speed;
  const bool greedy = !evaluation.sampled(), timed = evaluation.has_speeds();
  return {
      {"tokens_per_s", value_if(timed, speed.tokens_per_s)},
      {"tokens_per_s_range", value_if(timed, {speed.slowest, speed.fastest})},
      {"latency_mean_s", speed.latency_mean_s},
      {"latency_median_s", speed.latency_median_s},
      {"latency_p90_s", speed.latency_p90_s},
      {"prefill_mean_s", speed.prefill_mean_s},
      {"prefill_tokens_per_s", speed.prefill_tokens_per_s},
      {"decode_mean_s", value_if(timed, speed.decode_mean_s)},
      {"step_s", value_if(timed, speed.step_seconds)},
      {"step_parts_s",
       {{"backbone", value_if(timed, speed.backbone_seconds)},
        {"heads", value_if(timed, speed.head_seconds)},
        {"rest", value_if(timed, speed.step_seconds - speed.backbone_seconds - speed.head_seconds)}}},
      {"speedup", value_if(timed, speedup(evaluation, result))},
      {"overhead", value_if(timed, overhead(evaluation, result))},
      {"tau_over_overhead", value_if(timed, tau_over_overhead(evaluation, result))},
      {"tau", result.accept_length},
      {"tau_ci95", {result.interval.first, result.interval.second}},
      {"tau_simulated", value_if(greedy, result.simulated)},
      {"walk_differences", value_if(greedy, result.walk_differences)},
      {"accepted_histogram", result.histogram},
      {"exact_match", value_if(greedy, share(result.exact, std::ssize(result.divergences) + result.exact))}};
}

// The draft of the keys at the top level: the heads alone where they were decoded, else joined with lookup;
// null where lookup alone was.
const DraftResult* main_result(const DecodeEvaluation& evaluation) {
  const DraftResult* heads = evaluation.find(Draft::heads);
  return heads != nullptr ? heads : evaluation.find(Draft::both);
}

void add_main_result(const DecodeEvaluation& evaluation, OrderedJson& json) {
  for (const char* key : {"draft", "tree_tau", "speedup", "overhead", "tau_over_overhead"})
    json[key] = nullptr;
  const DraftResult* main = main_result(evaluation);
  if (main == nullptr) return;
  const bool greedy = !evaluation.sampled();
  json["draft"] = name(main->draft);
  json["tree_tau"] = {{"independent", value_if(greedy, evaluation.independent_tau)},
                      {"simulated", value_if(greedy, main->simulated)},
                      {"measured", main->accept_length},
                      {"ci95", {main->interval.first, main->interval.second}}};
  if (!evaluation.has_speeds()) return;
  json["speedup"] = speedup(evaluation, *main);
  json["overhead"] = overhead(evaluation, *main);
  json["tau_over_overhead"] = tau_over_overhead(evaluation, *main);
}

OrderedJson divergences_json(const DecodeEvaluation& evaluation) {
  OrderedJson list = OrderedJson::array();
  for (const DraftResult& result : evaluation.results) {
    for (const Divergence& d : result.divergences) {
      list.push_back({{"prompt", d.prompt},
                      {"index", d.index},
                      {"margin", d.margin},
                      {"kind", d.failure ? "failure" : "tie"},
                      {"draft", name(result.draft)}});
    }
  }
  return list;
}

OrderedJson batches_json(const DecodeEvaluation& evaluation) {
  OrderedJson list = OrderedJson::array();
  for (const BatchSpeed& b : evaluation.batches) {
    const bool timed = b.plain.known && b.drafted.known;
    list.push_back({{"batch", b.batch},
                    {"draft", name(b.draft)},
                    {"requests", b.requests},
                    {"plain_tokens_per_s", value_if(timed, b.plain.tokens_per_s)},
                    {"plain_tokens_per_s_range", value_if(timed, {b.plain.slowest, b.plain.fastest})},
                    {"plain_occupancy", value_if(timed, b.plain.occupancy)},
                    {"tokens_per_s", value_if(timed, b.drafted.tokens_per_s)},
                    {"tokens_per_s_range", value_if(timed, {b.drafted.slowest, b.drafted.fastest})},
                    {"occupancy", value_if(timed, b.drafted.occupancy)},
                    {"speedup", value_if(timed, b.speedup())},
                    {"tau", value_if(timed, b.drafted.accept_length)},
                    {"break_even_tau", value_if(timed, b.break_even())}});
  }
  return list;
}

}  // namespace

OrderedJson heads_json(const std::vector<HeadSums>& heads, const std::vector<double>& prefix,
                       const std::vector<double>& loss_weights) {
  OrderedJson list = OrderedJson::array();
  double loss = 0;
  bool counted = false;
  for (size_t k = 0; k < heads.size(); ++k) {
    OrderedJson head;
    loss += loss_weights[k] * mean_loss(heads[k]);
    counted = counted || heads[k].count > 0;
    head["ce"] = value_if(heads[k].inside > 0, mean_loss(heads[k]));
    for (size_t n = 0; n < 5; ++n)
      head["top" + std::to_string(n + 1)] =
          value_if(heads[k].count > 0, share(heads[k].top[n], heads[k].count));
    head["prefix"] = prefix.empty() ? OrderedJson() : OrderedJson(prefix[k]);
    head["count"] = heads[k].count;
    list.push_back(head);
  }
  return {{"loss", value_if(counted, loss)}, {"heads", list}};
}

OrderedJson decode_json(const DecodeEvaluation& evaluation, const std::vector<double>& loss_weights) {
  OrderedJson json;
  json["own_answers"] = heads_json(evaluation.heads, evaluation.prefix, loss_weights);
  const bool greedy = !evaluation.sampled();
  json["temperature"] = evaluation.temperature;
  json["chain_tau"] = value_if(greedy, evaluation.chain_tau);
  add_main_result(evaluation, json);
  for (const DraftResult& result : evaluation.results) {
    json[result.draft == Draft::heads ? "medusa" : name(result.draft)] = speed_json(evaluation, result);
  }
  json["prompts"] = evaluation.prompts;
  json["timed_prompts"] = evaluation.timed_prompts;
  json["tokens"] = evaluation.tokens;
  const DraftResult* main = main_result(evaluation);
  const DraftResult& compared = main != nullptr ? *main : evaluation.results.back();
  json["exact_match"] = value_if(greedy, share(compared.exact, evaluation.prompts));
  json["logit_difference"] = evaluation.logit_difference;
  json["divergences"] = value_if(greedy, divergences_json(evaluation));
  json["depths"] = OrderedJson::array();
  for (size_t k = 0; k < evaluation.depth_seconds.size(); ++k)
    json["depths"].push_back(
        {{"tau", evaluation.depth_tau[k]},
         {"gain_ci95", {evaluation.depth_gain[k].first, evaluation.depth_gain[k].second}},
         {"step_s", evaluation.depth_seconds[k]},
         {"cost_range", {evaluation.depth_cost[k].first, evaluation.depth_cost[k].second}}});
  json["batches"] = batches_json(evaluation);
  json["verdict"] = verdicts(evaluation);
  return json;
}

std::string heads_table(const std::vector<HeadSums>& heads, const std::vector<double>& prefix) {
  std::string out = fmt::format("{:>4} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9}", "head", "loss", "top-1",
                                "top-2", "top-3", "top-4", "top-5", "targets");
  out += prefix.empty() ? "\n" : fmt::format(" {:>7}\n", "prefix");
  for (size_t k = 0; k < heads.size(); ++k) {
    out += fmt::format("{:>4} {:>9.4f}", k + 1, mean_loss(heads[k]));
    for (const int64_t hits : heads[k].top)
      out += fmt::format(" {:>6.1f}%", 100 * share(hits, heads[k].count));
    out += fmt::format(" {:>9}", heads[k].count);
    out += prefix.empty() ? "\n" : fmt::format(" {:>6.1f}%\n", 100 * prefix[k]);
  }
  return out;
}

namespace {

// Two tables, so that a terminal of 80 columns holds them.
std::string drafts_table(const DecodeEvaluation& evaluation) {
  std::string out = fmt::format("{:>7} {:>6} {:>15} {:>9} {:>7} {:>5} {:>8}\n", "draft", "tau", "95 %",
                                "simulated", "exact", "ties", "failures");
  for (const DraftResult& r : evaluation.results) {
    const auto failures = std::count_if(r.divergences.begin(), r.divergences.end(),
                                        [](const Divergence& d) { return d.failure; });
    out += fmt::format("{:>7} {:>6.3f} {:>7.3f}-{:<7.3f}", name(r.draft), r.accept_length, r.interval.first,
                       r.interval.second);
    out += evaluation.sampled() ? fmt::format(" {:>9} {:>7} {:>5} {:>8}\n", "-", "-", "-", "-")
                                : fmt::format(" {:>9.3f} {:>6.1f}% {:>5} {:>8}\n", r.simulated,
                                              100 * share(r.exact, evaluation.prompts),
                                              std::ssize(r.divergences) - failures, failures);
  }
  const Speed& plain = evaluation.plain().speed;
  out += fmt::format("prefill: {:.4f} s a prompt on average, {:.0f} prompt tokens a second",
                     plain.prefill_mean_s, plain.prefill_tokens_per_s);
  out +=
      evaluation.has_speeds() ? fmt::format("; an answer behind it: {:.3f} s\n", plain.decode_mean_s) : "\n";
  if (!evaluation.has_speeds()) return out;
  out += fmt::format("{:>7} {:>8} {:>15} {:>8} {:>8} {:>9} {:>8} {:>8}\n", "draft", "tokens/s", "range",
                     "latency", "p90", "step cost", "speed-up", "tau/cost");
  for (const DraftResult& r : evaluation.results) {
    out += fmt::format("{:>7} {:>8.1f} {:>7.1f}-{:<7.1f} {:>7.3f}s {:>7.3f}s {:>9.2f} {:>8.2f} {:>8.2f}\n",
                       name(r.draft), r.speed.tokens_per_s, r.speed.slowest, r.speed.fastest,
                       r.speed.latency_mean_s, r.speed.latency_p90_s, overhead(evaluation, r),
                       speedup(evaluation, r), tau_over_overhead(evaluation, r));
  }
  return out;
}

// Tokens a step that a draft needs to pay, by batch size, beside those it gets.
std::string break_even_table(const DecodeEvaluation& evaluation) {
  if (evaluation.batches.empty() || !evaluation.has_speeds()) return "";
  std::string out = "break-even: a draft pays where it gets more tokens a step than it needs\n";
  out += fmt::format("{:>7} {:>6} {:>14} {:>8} {:>8} {:>6} {:>6} {:>9} {:>8}\n", "batch", "draft",
                     "plain tokens/s", "tokens/s", "speed-up", "needs", "gets", "at a time", "requests");
  for (const BatchSpeed& b : evaluation.batches) {
    out += fmt::format("{:>7} {:>6} {:>14.1f} {:>8.1f} {:>8.2f} {:>6.2f} {:>6.2f} {:>9.1f} {:>8}\n", b.batch,
                       name(b.draft), b.plain.tokens_per_s, b.drafted.tokens_per_s, b.speedup(),
                       b.break_even(), b.drafted.accept_length, b.drafted.occupancy, b.requests);
  }
  return out;
}

}  // namespace

std::string decode_table(const DecodeEvaluation& evaluation) {
  std::string out = fmt::format("against {} tokens of the model's own answers to {} prompts\n",
                                evaluation.tokens, evaluation.prompts);
  out += heads_table(evaluation.heads, evaluation.prefix);
  if (evaluation.sampled()) {
    out += fmt::format(
        "sampled: not comparable. At temperature {} nothing is said of exact match, simulated tau and single "
        "heads\n",
        evaluation.temperature);
  } else {
    out += fmt::format("chain tau {:.3f}, tree tau {:.3f} if heads were independent\n", evaluation.chain_tau,
                       evaluation.independent_tau);
  }
  out += drafts_table(evaluation);
  out += break_even_table(evaluation);
  for (const std::string& line : verdicts(evaluation)) out += line + "\n";
  return out;
}

}  // namespace gorgon
