// What `gorgon eval` and `gorgon tree` found out, in report.html.
#include <cmath>

#include <fmt/format.h>

#include "trainer/report_charts.h"
#include "trainer/report_sections.h"
#include "trainer/svg.h"

namespace gorgon {
namespace {

struct Decoded {
  const char* key;   // in eval.json
  const char* name;  // for people
};
constexpr Decoded kDrafts[] = {
    {"plain", "plain"}, {"medusa", "heads"}, {"lookup", "lookup"}, {"both", "both"}};

std::string text_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string speed_figure(const Json& d) {
  BarChart chart{"tokens per second by draft", {}, {}};
  std::vector<std::vector<std::string>> rows;
  const double plain = number_at(d, {"plain", "tokens_per_s"});
  for (const Decoded& draft : kDrafts) {
    const double rate = number_at(d, {draft.key, "tokens_per_s"});
    if (!std::isfinite(rate)) continue;
    Bar bar{draft.name, fmt::format("{:.1f} ({:.2f}×)", rate, rate / plain), {rate}, {}};
    const Json range = d.at(draft.key).value("tokens_per_s_range", Json());
    if (range.is_array() && range.size() == 2 && range[0].is_number() && range[1].is_number()) {
      bar.range = {range[0].get<double>(), range[1].get<double>()};
    }
    rows.push_back({draft.name, shown(rate, 1), shown(rate / plain, 2) + "×",
                    shown(number_at(d, {draft.key, "tau"}), 3),
                    shown(1e3 * number_at(d, {draft.key, "latency_mean_s"}), 0),
                    shown(1e3 * number_at(d, {draft.key, "latency_p90_s"}), 0),
                    shown_percent(number_at(d, {draft.key, "exact_match"}))});
    chart.bars.push_back(std::move(bar));
  }
  if (chart.bars.empty()) return "";
  return figure(
      "Speed, tokens per second", draw(chart),
      "Median of three runs without prefill, with the smallest and the largest; one prompt at a time. "
      "lookup copies from the prompt and needs no training; both joins it with the heads.",
      html_table({"draft", "tokens/s", "speed-up", "tokens a step", "latency ms", "p90 ms", "same answers"},
                 rows));
}

std::string cost_figure(const Json& d) {
  BarChart chart{"milliseconds of a step by part", {}, {"model", "heads", "rest"}};
  std::vector<std::vector<std::string>> rows;
  for (const Decoded& draft : kDrafts) {
    const double step = number_at(d, {draft.key, "step_s"});
    if (!std::isfinite(step)) continue;
    Bar bar{draft.name, fmt::format("{:.1f} ms", 1e3 * step), {}, {}};
    std::vector<std::string> row{draft.name, shown(1e3 * step, 2)};
    for (const char* part : {"backbone", "heads", "rest"}) {
      const double seconds = number_at(d, {draft.key, "step_parts_s", part});
      bar.parts.push_back(std::isfinite(seconds) ? 1e3 * seconds : 0);
      row.push_back(shown(1e3 * seconds, 2));
    }
    rows.push_back(std::move(row));
    chart.bars.push_back(std::move(bar));
  }
  if (chart.bars.empty()) return "";
  return figure("What a step costs", draw(chart),
                "A step verifies the drafted tokens in one pass of the model and drafts the next ones.",
                html_table({"draft", "step ms", "model", "heads", "rest"}, rows));
}

std::string histogram_figure(const Json& d) {
  const bool alone = d.contains("medusa");
  const char* const key = alone ? "medusa" : "both";
  const auto draft = d.find(key);
  if (draft == d.end() || !draft->is_object() || !draft->contains("accepted_histogram")) return "";
  std::vector<int64_t> counts;
  std::vector<std::vector<std::string>> rows;
  for (const Json& count : draft->at("accepted_histogram")) {
    if (!count.is_number_integer()) return "";
    rows.push_back({std::to_string(counts.size()), std::to_string(count.get<int64_t>())});
    counts.push_back(count.get<int64_t>());
  }
  const Json ci = draft->value("tau_ci95", Json());
  const bool known = ci.is_array() && ci.size() == 2 && ci[0].is_number() && ci[1].is_number();
  const std::string interval = known ? fmt::format(" (95 % interval {:.3f} to {:.3f} over prompts)",
                                                   ci[0].get<double>(), ci[1].get<double>())
                                     : "";
  const double simulated = number_at(d, {key, "tau_simulated"});
  const std::string walked =
      std::isfinite(simulated) ? fmt::format(", {} simulated", shown(simulated, 3)) : "";
  return figure("Accepted tokens", draw_histogram("share of steps by accepted tokens", counts),
                fmt::format("With {}: {} tokens per step measured{}{}.",
                            alone ? "the heads' tree" : "heads and lookup in one tree",
                            shown(number_at(d, {key, "tau"}), 3), interval, walked),
                html_table({"accepted", "steps"}, rows));
}

std::string draft_of(const Json& batch) {
  const std::string draft = text_at(batch, "draft");
  return draft.empty() ? "drafts" : draft;
}

std::string batch_figure(const Json& d) {
  const auto batches = d.find("batches");
  if (batches == d.end() || !batches->is_array() || batches->empty()) return "";
  BarChart chart{"tokens per second by batch size, plain and with drafts", {}, {}};
  std::vector<std::vector<std::string>> rows;
  std::string last_size;
  for (const Json& batch : *batches) {
    const double plain = number_at(batch, {"plain_tokens_per_s"}),
                 drafted = number_at(batch, {"tokens_per_s"});
    if (!std::isfinite(plain) || !std::isfinite(drafted)) continue;
    const std::string size = shown(number_at(batch, {"batch"}), 0);
    if (size != last_size) chart.bars.push_back({size + " plain", fmt::format("{:.0f}", plain), {plain}, {}});
    last_size = size;
    chart.bars.push_back({size + " " + draft_of(batch),
                          fmt::format("{:.0f} ({:.2f}×)", drafted, drafted / plain),
                          {0, drafted},
                          {}});
    rows.push_back({size, draft_of(batch), shown(plain, 1), shown(drafted, 1),
                    shown(drafted / plain, 2) + "×", shown(number_at(batch, {"occupancy"}), 1)});
  }
  return figure(
      "Batches", draw(chart),
      "So many answers at a time, one taking the place of another; median of three runs in turns over twice "
      "as many prompts, repeated where there are fewer.",
      html_table({"batch", "draft", "plain tokens/s", "with drafts", "speed-up", "mean at a time"}, rows));
}

// Tokens a step above which drafts pay, by batch size: what each draft needs, and what it gets.
std::string break_even_figure(const Json& d) {
  const auto batches = d.find("batches");
  if (batches == d.end() || !batches->is_array() || batches->empty()) return "";
  LineChart chart;
  chart.title = "tokens a step above which drafts pay, by batch size";
  chart.x_label = "batch size";
  chart.from = 1.0;
  for (const Json& batch : *batches) {
    const double size = number_at(batch, {"batch"});
    if (std::isfinite(size) && (chart.x_ticks.empty() || chart.x_ticks.back() != size))
      chart.x_ticks.push_back(size);
  }
  std::vector<std::vector<std::string>> rows;
  for (const Decoded& draft : kDrafts) {
    ChartSeries gets{fmt::format("{} gets", draft.name), {}, false, 0};
    const double tau = number_at(d, {draft.key, "tau"});
    const auto colour = static_cast<int>(&draft - kDrafts) - 1;  // one for what it needs and gets
    ChartSeries needed{fmt::format("{} needs", draft.name), {}, true, colour};
    for (const Json& batch : *batches) {
      const double size = number_at(batch, {"batch"}), even = number_at(batch, {"break_even_tau"});
      if (draft_of(batch) != draft.name || !std::isfinite(size) || !std::isfinite(even)) continue;
      needed.points.emplace_back(size, even);
      const double got = number_at(batch, {"tau"});  // else of all prompts, one at a time
      gets.points.emplace_back(size, std::isfinite(got) ? got : tau);
      rows.push_back({shown(size, 0), draft.name, shown(even, 2), shown(gets.points.back().second, 2)});
    }
    if (needed.points.empty()) continue;
    chart.series.push_back(std::move(needed));
    gets.colour = colour;
    if (std::isfinite(gets.points.front().second)) chart.series.push_back(std::move(gets));
  }
  if (chart.series.empty()) return "";
  return figure("Break-even", draw(chart),
                "Drafts pay where a step yields more tokens than it needs to be as fast as plain decoding, "
                "measured in the same runs.",
                html_table({"batch", "draft", "tokens a step it needs", "gets"}, rows));
}

std::string lossless_text(const Json& d) {
  if (number_at(d, {"temperature"}) > 0) {
    return fmt::format(
        "<p class=\"soft\">Sampled at temperature {}: not comparable with plain decoding.</p>\n",
        shown(number_at(d, {"temperature"}), 2));
  }
  const auto divergences = d.find("divergences");
  if (divergences == d.end() || !divergences->is_array()) return "";
  size_t failures = 0;
  for (const Json& divergence : *divergences)
    failures += divergence.value("kind", Json()) == "failure" ? 1 : 0;
  if (divergences->empty()) {
    return fmt::format(
        "<p class=\"good\">Lossless: every token of {} prompts is that of plain decoding.</p>\n",
        shown(number_at(d, {"prompts"}), 0));
  }
  return fmt::format(
      "<p class=\"{}\">{} answers differ from plain decoding, {} of them by more than rounding "
      "decides.</p>\n",
      failures > 0 ? "bad" : "soft", divergences->size(), failures);
}

std::string verdict_list(const Json& d) {
  const auto verdict = d.find("verdict");
  if (verdict == d.end() || !verdict->is_array()) return "";
  std::string out = "<ul class=\"verdict\">\n";
  for (const Json& line : *verdict) {
    if (line.is_string()) out += "<li>" + escape_markup(line.get<std::string>()) + "</li>\n";
  }
  return out + "</ul>\n";
}

}  // namespace

std::string decoding_section(const RunReport& report) {
  const Json& d = report.decoding;
  if (!d.is_object() || !d.contains("plain")) return "";
  std::string out = "<h2>Decoding</h2>\n";
  out += fmt::format("<p class=\"soft\">{} prompts, {} tokens, {} on {}, {} threads.</p>\n",
                     shown(number_at(d, {"prompts"}), 0), shown(number_at(d, {"tokens"}), 0),
                     escape_markup(text_at(d, "dtype")), escape_markup(text_at(d, "device")),
                     shown(number_at(d, {"threads"}), 0));
  out += lossless_text(d) + verdict_list(d);
  out += "<div class=\"charts\" style=\"margin-top:1rem\">\n" + speed_figure(d) + cost_figure(d) +
         histogram_figure(d) + batch_figure(d) + break_even_figure(d) + "</div>\n";
  return out;
}

std::string tree_section(const RunReport& report) {
  if (!report.has_tree) return "";
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < report.tree.paths.size(); ++i) {
    rows.push_back({to_string(report.tree.paths[i]),
                    i < report.tree_probability.size() ? shown_percent(report.tree_probability[i]) : "-"});
  }
  std::string out = "<h2>Draft tree</h2>\n<div class=\"charts\">\n";
  out += figure(
      fmt::format("{} nodes, root included", report.tree.nodes()),
      draw_tree(report.tree, report.tree_probability),
      "Numbers are ranks among a head's candidates (0: its first choice), with the share of steps at which "
      "the whole path is right.",
      rows.empty() ? "" : html_table({"path", "right"}, rows));
  return out + "</div>\n";
}

std::string footer_section(const RunReport& report) {
  std::string out = "<footer>";
  if (report.decoding.is_object()) {
    for (const char* key : {"heads_sha256", "model_fingerprint", "data_sha256"}) {
      const std::string value = text_at(report.decoding, key);
      if (!value.empty()) out += fmt::format("{} {}<br>\n", key, escape_markup(value));
    }
  }
  return out + "gorgon " GORGON_VERSION "</footer>\n";
}

}  // namespace gorgon
