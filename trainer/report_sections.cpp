#include "trainer/report_sections.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "trainer/report_charts.h"
#include "trainer/svg.h"

namespace gorgon {
namespace {

std::string card(const std::string& name, const std::string& value, const std::string& note,
                 const char* css_class = "") {
  return fmt::format("<div class=\"card\"><dt>{}</dt><dd class=\"{}\">{}<small>{}</small></dd></div>\n",
                     escape_markup(name), css_class, escape_markup(value), escape_markup(note));
}

// The last evaluation of every file, in the order in which files first appear.
std::vector<const RunReport::Evaluation*> last_evaluations(const RunReport& report) {
  std::vector<const RunReport::Evaluation*> last;
  for (const RunReport::Evaluation& evaluation : report.evaluations) {
    bool known = false;
    for (const RunReport::Evaluation*& other : last) {
      if (other->data != evaluation.data) continue;
      other = &evaluation;
      known = true;
    }
    if (!known) last.push_back(&evaluation);
  }
  return last;
}

size_t head_count(const RunReport& report) {
  if (!report.steps.empty()) return report.steps.front().heads.size();
  return report.evaluations.empty() ? 0 : report.evaluations.front().heads.size();
}

template <typename Value>
ChartSeries curve(const RunReport& report, const std::string& name, int colour, const Value& value) {
  ChartSeries series{name, {}, false, colour};
  for (const RunReport::Step& step : report.steps) series.points.emplace_back(step.step, value(step));
  return series;
}

double at(const std::vector<double>& values, size_t i) {
  return i < values.size() ? values[i] : NAN;
}

// Curves of all heads over the steps, and the evaluations of the first file as marks.
template <typename OfStep, typename OfEvaluation>
LineChart heads_chart(const RunReport& report, const std::string& title, const OfStep& of_step,
                      const OfEvaluation& of_evaluation) {
  LineChart chart;
  chart.title = title;
  chart.x_label = "step";
  for (size_t k = 0; k < head_count(report); ++k) {
    const int colour = static_cast<int>(k);
    chart.series.push_back(curve(report, fmt::format("head {}", k + 1), colour,
                                 [&](const RunReport::Step& step) { return at(of_step(step), k); }));
    ChartSeries marks{"", {}, true, colour};
    for (const RunReport::Evaluation& evaluation : report.evaluations) {
      if (evaluation.data != report.evaluations.front().data) continue;
      marks.points.emplace_back(evaluation.step, at(of_evaluation(evaluation), k));
    }
    chart.series.push_back(std::move(marks));
  }
  return chart;
}

// Losses fall steeply at first; the axis follows what comes behind the first tenth of the steps.
double later_losses(const RunReport& report) {
  double largest = 0;
  for (size_t i = report.steps.size() / 10; i < report.steps.size(); ++i) {
    for (const double loss : report.steps[i].heads)
      largest = std::max(largest, std::isfinite(loss) ? loss : 0);
  }
  return largest;
}

std::string steps_table(const RunReport& report) {
  constexpr size_t kRows = 12;
  std::vector<std::string> head{"step", "loss"};
  for (size_t k = 0; k < head_count(report); ++k) head.push_back(fmt::format("head {}", k + 1));
  for (size_t k = 0; k < head_count(report); ++k) head.push_back(fmt::format("top-1 {}", k + 1));
  head.insert(head.end(), {"grad norm", "lr", "tokens/s"});
  std::vector<std::vector<std::string>> rows;
  const size_t count = report.steps.size(), shown_rows = std::min(kRows, count);
  for (size_t i = 0; i < shown_rows; ++i) {
    const auto& s = report.steps[shown_rows == 1 ? 0 : i * (count - 1) / (shown_rows - 1)];
    std::vector<std::string> row{shown(s.step, 0), shown(s.loss, 4)};
    for (size_t k = 0; k < head_count(report); ++k) row.push_back(shown(at(s.heads, k), 3));
    for (size_t k = 0; k < head_count(report); ++k) row.push_back(shown_percent(at(s.top1, k)));
    row.insert(row.end(), {shown(s.grad_norm, 3), fmt::format("{:.3g}", s.lr), shown(s.tokens_per_s, 0)});
    rows.push_back(std::move(row));
  }
  return html_table(head, rows);
}

std::string accept_chart(const RunReport& report) {
  LineChart chart;
  chart.title = "accepted length of a chain over the steps";
  chart.x_label = "step";
  chart.from = 1.0;
  if (!report.steps.empty()) chart.across = {{0, report.steps.back().step}};
  std::vector<std::vector<std::string>> rows;
  for (const RunReport::Evaluation* last : last_evaluations(report)) {
    ChartSeries series{last->data, {}, true, static_cast<int>(chart.series.size())};
    for (const RunReport::Evaluation& e : report.evaluations) {
      if (e.data != last->data || !std::isfinite(e.accept_length)) continue;
      series.points.emplace_back(e.step, e.accept_length);
      rows.push_back({e.data, shown(e.step, 0), shown(e.accept_length, 3), shown(e.loss, 4)});
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  if (chart.series.empty()) return "";
  return figure(
      "Accepted length", draw(chart),
      "Tokens per step of a chain of the heads' first choices along the model's own answers to held-out "
      "prompts; 1 is plain decoding.",
      html_table({"data", "step", "tokens per step", "loss"}, rows));
}

// The rank that was the slowest most often, of the steps that several ranks worked at.
std::string ranks_chart(const RunReport& report) {
  std::map<int, int64_t> slowest;
  int64_t steps = 0;
  for (const RunReport::Step& s : report.steps) {
    if (!std::isfinite(s.rank_ratio)) continue;
    ++steps;
    ++slowest[static_cast<int>(s.slowest_rank)];
  }
  if (steps == 0) return "";
  LineChart chart{"the slowest rank's time over the median rank's", "step", {}, false, 1.0, {}};
  chart.series.push_back(curve(report, "", 0, [](const RunReport::Step& s) { return s.rank_ratio; }));
  std::vector<std::vector<std::string>> rows;
  for (const auto& [rank, count] : slowest) {
    rows.push_back({fmt::format("rank {}", rank),
                    shown_percent(static_cast<double>(count) / static_cast<double>(steps))});
  }
  return figure(
      "Ranks", draw(chart),
      "Seconds of own work in a step, waiting left out: how many times the median rank's the slowest one's "
      "are. All wait for it.",
      html_table({"", "the slowest, of all steps"}, rows));
}

}  // namespace

std::string shown(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

std::string shown_percent(double share, int digits) {
  return std::isfinite(share) ? fmt::format("{:.{}f} %", 100 * share, digits) : "-";
}

std::string html_table(const std::vector<std::string>& head,
                       const std::vector<std::vector<std::string>>& rows) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>";
  for (const std::string& cell : head) out += "<th scope=\"col\">" + escape_markup(cell) + "</th>";
  out += "</tr></thead><tbody>\n";
  for (const std::vector<std::string>& row : rows) {
    out += "<tr>";
    for (const std::string& cell : row) out += "<td>" + escape_markup(cell) + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string figure(const std::string& heading, const std::string& drawing, const std::string& caption,
                   const std::string& table) {
  // On paper nobody can open what is closed: there the table stands by itself.
  const std::string details =
      table.empty() ? ""
                    : fmt::format(
                          "<details class=\"screen\"><summary>As a table</summary>\n{0}</details>\n"
                          "<div class=\"paper\">{0}</div>",
                          table);
  return fmt::format("<figure{}>\n<h3>{}</h3>\n{}<figcaption>{}</figcaption>\n{}</figure>\n",
                     table.empty() ? " class=\"bare\"" : "", heading, drawing, caption, details);
}

namespace {

// Of the heads, alone or joined with lookup; of lookup alone there is no more than its answers.
std::string decoding_cards(const Json& d) {
  std::string out;
  const double faster = number_at(d, {"speedup"}), exact = number_at(d, {"exact_match"});
  const double alone = number_at(d, {"medusa", "tau"});
  const double tau = std::isfinite(alone) ? alone : number_at(d, {"both", "tau"});
  if (std::isfinite(faster)) out += card("Speed-up", shown(faster, 2) + "×", "over plain decoding");
  if (std::isfinite(tau)) {
    out += card("Tokens per step", shown(tau, 2),
                fmt::format("measured, {} prompts", shown(number_at(d, {"prompts"}), 0)));
  }
  if (std::isfinite(exact)) {
    out += card("Same answers", shown_percent(exact), "as plain decoding", exact == 1 ? "good" : "");
  }
  return out;
}

}  // namespace

std::string summary_section(const RunReport& report) {
  std::string out =
      fmt::format("<h1>{}</h1>\n<p class=\"soft\">Medusa heads trained by Gorgon</p>\n<dl class=\"cards\">\n",
                  escape_markup(report.name));
  const Json& d = report.decoding;
  if (d.is_object()) out += decoding_cards(d);
  for (const RunReport::Evaluation* last : last_evaluations(report)) {
    const std::string file = last->data == "eval" ? "" : " (" + last->data + ")";
    if (std::isfinite(last->accept_length)) {
      out += card("Accepted length" + file, shown(last->accept_length, 3), "chain, simulated");
    }
    out += card("Held-out loss" + file, shown(last->loss, 4),
                "head 1 right: " + shown_percent(last->top.empty() ? NAN : at(last->top[0], 0)));
  }
  if (!report.steps.empty()) {
    out += card("Steps", shown(report.steps.back().step, 0), fmt::format("{} heads", head_count(report)));
  }
  return out + "</dl>\n";
}

std::string training_section(const RunReport& report) {
  if (report.steps.empty()) return "";
  std::string out = "<h2>Training</h2>\n<div class=\"charts\">\n";
  const bool evaluated = !report.evaluations.empty();
  const std::string marks = evaluated ? " Circles: held-out data." : "";
  LineChart losses = heads_chart(
      report, "cross-entropy of every head over the steps",
      [](const RunReport::Step& s) -> const std::vector<double>& { return s.heads; },
      [](const RunReport::Evaluation& e) -> const std::vector<double>& { return e.heads; });
  losses.cap = later_losses(report);
  losses.from = 0.0;
  out += figure("Loss", draw(losses), "Cross-entropy of every head, in nats, without coefficients." + marks,
                steps_table(report));
  LineChart accuracy = heads_chart(
      report, "top-1 accuracy of every head over the steps",
      [](const RunReport::Step& s) -> const std::vector<double>& { return s.top1; },
      [](const RunReport::Evaluation& e) -> const std::vector<double>& { return e.top.at(0); });
  accuracy.percent = true;
  accuracy.from = 0.0;
  out +=
      figure("Accuracy", draw(accuracy), "Share of positions where a head's first choice is right." + marks);
  out += accept_chart(report);
  LineChart rate{"learning rate over the steps", "step", {}, false, 0.0, {}};
  rate.series.push_back(curve(report, "", 0, [](const RunReport::Step& s) { return s.lr; }));
  out += figure("Learning rate", draw(rate), "Before the multipliers of single heads.");
  out += ranks_chart(report);
  return out + "</div>\n";
}

std::string heads_section(const RunReport& report) {
  std::string out;
  for (const RunReport::Evaluation* last : last_evaluations(report)) {
    std::vector<std::vector<std::string>> rows;
    for (size_t k = 0; k < last->heads.size(); ++k) {
      std::vector<std::string> row{fmt::format("head {}", k + 1), shown(last->heads[k], 4)};
      for (const std::vector<double>& top : last->top) row.push_back(shown_percent(at(top, k)));
      rows.push_back(std::move(row));
    }
    out += fmt::format("<h2>Heads on {}, step {:.0f}</h2>\n", escape_markup(last->data), last->step);
    out += html_table({"", "loss", "top-1", "top-2", "top-3", "top-4", "top-5"}, rows);
  }
  return out;
}

}  // namespace gorgon
