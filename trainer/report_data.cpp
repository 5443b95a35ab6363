#include "trainer/report_data.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "data/file.h"
#include "kernels/error.h"
#include "model/tree_file.h"
#include "trainer/found_heads.h"
#include "trainer/report_page.h"
#include "trainer/reports.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return "";
  try {
    return read_text(path, ExitCode::resource);
  } catch (const Error&) {
    return "";
  }
}

std::vector<double> numbers_at(const Json& json, const std::string& key) {
  std::vector<double> numbers;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array()) return numbers;
  for (const Json& value : *found) {
    numbers.push_back(value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
  }
  return numbers;
}

void add_line(const Json& line, RunReport& report) {
  const double step = number_at(line, {"step"});
  if (!line.is_object() || !std::isfinite(step)) return;
  if (!line.contains("data")) {
    report.steps.push_back({step, number_at(line, {"loss"}), number_at(line, {"grad_norm"}),
                            number_at(line, {"lr"}), number_at(line, {"tokens_per_s"}),
                            numbers_at(line, "heads"), numbers_at(line, "top1"),
                            number_at(line, {"rank_ratio"}), number_at(line, {"slowest_rank"})});
    return;
  }
  RunReport::Evaluation evaluation{step,
                                   number_at(line, {"eval_loss"}),
                                   number_at(line, {"eval_accept_length"}),
                                   line.at("data").is_string() ? line.at("data").get<std::string>() : "",
                                   numbers_at(line, "eval_heads"),
                                   {}};
  for (int n = 1; n <= 5; ++n) evaluation.top.push_back(numbers_at(line, "eval_top" + std::to_string(n)));
  report.evaluations.push_back(std::move(evaluation));
}

void read_metrics(const fs::path& path, RunReport& report) {
  std::istringstream lines(text_of(path));
  for (std::string line; std::getline(lines, line);) {
    add_line(Json::parse(line, nullptr, false), report);
  }
}

void read_drawn_tree(const fs::path& path, RunReport& report) {
  constexpr int kAnyDepth = 64;
  const std::string text = text_of(path);
  if (text.empty()) return;
  try {
    TreeFile file = parse_tree(text, path.string(), kAnyDepth);
    report.tree_probability = numbers_at(file.made_from, "path_probability");
    if (report.tree_probability.size() != file.tree.paths.size()) report.tree_probability.clear();
    report.tree = std::move(file.tree);
    report.has_tree = true;
  } catch (const Error&) {
    return;  // shown by the commands that need it
  }
}

}  // namespace

double number_at(const Json& json, std::initializer_list<const char*> keys) {
  const Json* at = &json;
  for (const char* key : keys) {
    if (!at->is_object() || !at->contains(key)) return std::numeric_limits<double>::quiet_NaN();
    at = &at->at(key);
  }
  return at->is_number() ? at->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

RunReport read_run_report(const fs::path& run) {
  RunReport report;
  report.name = fs::absolute(run).lexically_normal().filename().string();
  if (report.name.empty())
    report.name = fs::absolute(run).lexically_normal().parent_path().filename().string();
  report.config = text_of(run / "config.yaml");
  read_metrics(run / kMetricsFile, report);
  const std::string decoding = text_of(run / kEvalFile);
  if (!decoding.empty()) report.decoding = Json::parse(decoding, nullptr, false);
  if (!report.decoding.is_object()) report.decoding = nullptr;
  read_drawn_tree(run / kTreeFile, report);
  return report;
}

}  // namespace gorgon
