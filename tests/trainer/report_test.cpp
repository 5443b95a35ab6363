// report.html: what it shows, that it is well-formed, that it fetches nothing, and (where chromium is
// installed) that a browser lays it out on a phone and on paper.
#include <cmath>
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "data/file.h"
#include "kernels/error.h"
#include "tests/data/temporary_directory.h"
#include "trainer/report_charts.h"
#include "trainer/report_page.h"
#include "trainer/svg.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

std::string file_text(const fs::path& path) {
  return read_text(path, ExitCode::resource);
}

constexpr const char* kHostile = "</pre></script><img src=x onerror=alert(1)>";

RunReport a_report() {
  RunReport report;
  report.name = "run";
  report.config = std::string("model_path: \"") + kHostile + "\"\n";
  for (int step = 1; step <= 500; ++step) {
    const double loss = step == 7 ? NAN : 10.0 / step + 1;  // a skipped step
    report.steps.push_back({static_cast<double>(step), loss, 0.5, 1e-3, 900, {loss, loss + 1}, {0.5, 0.25}});
  }
  for (const double step : {100.0, 500.0}) {
    report.evaluations.push_back(
        {step, 1.5, 1 + step / 1000, kHostile, {1, 2}, std::vector<std::vector<double>>(5, {0.5, 0.25})});
  }
  report.decoding = Json::parse(R"({"speedup": 1.31, "exact_match": 1.0, "prompts": 24, "tokens": 1400,
      "dtype": "bf16", "device": "cpu", "threads": 2, "divergences": [], "verdict": ["keep it"],
      "plain": {"tokens_per_s": 60, "tokens_per_s_range": [55, 61], "tau": 1, "step_s": 0.016,
                "step_parts_s": {"backbone": 0.015, "heads": 0, "rest": 0.001}},
      "medusa": {"tokens_per_s": 78.6, "tokens_per_s_range": [70, 80], "tau": 2.5, "tau_simulated": 2.5,
                 "tau_ci95": [2.4, 2.6], "step_s": 0.03, "accepted_histogram": [10, 5, 1],
                 "step_parts_s": {"backbone": 0.02, "heads": 0.009, "rest": 0.001}},
      "both": {"tokens_per_s": 80.1, "tau": 3.25, "step_s": 0.03}, "batches": []})");
  for (const double size : {1.0, 4.0, 16.0}) {
    for (const char* draft : {"heads", "both"}) {
      report.decoding["batches"].push_back({{"batch", size},
                                            {"draft", draft},
                                            {"plain_tokens_per_s", 60 * size},
                                            {"tokens_per_s", 70 * size},
                                            {"break_even_tau", 1.2 + 0.1 * size},
                                            {"occupancy", size}});
    }
  }
  report.tree = make_draft_tree({{0}, {1}, {0, 0}, {0, 1}, {1, 0}});
  report.tree_probability = {0.7, 0.1, 0.4, 0.05, 0.02};
  report.has_tree = true;
  return report;
}

// What keeps a page from being well-formed: every element that is opened is closed, in order.
std::string markup_problem(const std::string& page) {
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    if (end == std::string::npos) return "an open tag at the end";
    const std::string tag = page.substr(at + 1, end - at - 1);
    const std::string element = tag.substr(tag[0] == '/', tag.find_first_of(" \n/", 1) - (tag[0] == '/'));
    if (tag[0] == '!' || element == "meta" || element == "br" || tag.back() == '/') continue;
    if (tag[0] != '/') {
      open.push_back(element);
    } else if (open.empty() || open.back() != element) {
      return "</" + element + "> closes " + (open.empty() ? "nothing" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back() + " is not closed";
}

TEST(Report, IsWellFormedAndFetchesNothing) {
  for (const RunReport& report : {a_report(), RunReport{}}) {
    const std::string page = report_page(report);
    EXPECT_EQ(markup_problem(page), "");
    EXPECT_THAT(page, Not(HasSubstr("<script")));
    EXPECT_THAT(page, Not(HasSubstr("<img")));
    EXPECT_THAT(page, Not(HasSubstr("url(")));
    EXPECT_THAT(page, Not(HasSubstr("href=")));
    EXPECT_THAT(page, Not(HasSubstr("src=\"")));
    EXPECT_THAT(page, Not(testing::ContainsRegex("[^a-z]nan[^a-z]")));
  }
  EXPECT_NE(markup_problem("<b><i></b>"), "");  // the check can fail
}

TEST(Report, ShowsEveryPart) {
  const std::string page = report_page(a_report());
  for (const char* part : {"<h3>Loss</h3>",
                           "<h3>Accuracy</h3>",
                           "<h3>Learning rate</h3>",
                           "<h3>Accepted length</h3>",
                           "<h3>Accepted tokens</h3>",
                           "<h3>Speed, tokens per second</h3>",
                           "<h3>What a step costs</h3>",
                           "<h3>Batches</h3>",
                           "<h3>Break-even</h3>",
                           "heads needs",
                           "both gets",
                           "16 both",
                           "<td>1.60</td>",
                           "6 nodes, root included",
                           "Lossless: every token of 24 prompts",
                           "1.31",
                           "rank 1, right in 10.0 %",
                           "<h2>Configuration</h2>",
                           "&lt;/script&gt;&lt;img",
                           "keep it"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  // A drawing has a title for those who cannot see it, and the numbers are there as a table.
  size_t drawings = 0, titles = 0;
  for (size_t at = page.find("<svg role=\"img\""); at != std::string::npos;
       at = page.find("<svg role", at + 1)) {
    ++drawings;
    titles += page.substr(page.find('\n', at), 8) == "\n<title>" ? 1 : 0;
  }
  EXPECT_EQ(drawings, 10u);
  EXPECT_EQ(titles, drawings);
}

TEST(Report, ShowsWhichRankAllWaitFor) {
  RunReport report = a_report();
  EXPECT_THAT(report_page(report), Not(HasSubstr("<h3>Ranks</h3>")));
  for (RunReport::Step& step : report.steps) {
    step.rank_ratio = 1.5;
    step.slowest_rank = step.step <= 100 ? 0 : 3;
  }
  const std::string page = report_page(report);
  EXPECT_THAT(page, HasSubstr("<h3>Ranks</h3>"));
  EXPECT_THAT(page, HasSubstr("<td>rank 3</td><td>80.0 %</td>"));
  EXPECT_EQ(markup_problem(page), "");
}

TEST(Report, LookupAloneHasNoCardsOfHeads) {
  RunReport report = a_report();
  report.decoding["lookup"] = report.decoding["medusa"];
  report.decoding.erase("medusa");
  report.decoding.erase("both");
  report.decoding["speedup"] = nullptr;
  const std::string page = report_page(report);
  EXPECT_THAT(page, Not(HasSubstr("<dt>Tokens per step</dt>")));
  EXPECT_THAT(page, Not(HasSubstr("<dt>Speed-up</dt>")));
  EXPECT_THAT(page, HasSubstr("<dt>Same answers</dt>"));
  EXPECT_THAT(report_page(a_report()), HasSubstr("<dt>Tokens per step</dt><dd class=\"\">2.50"));
}

TEST(Report, AcceptedTokensAreShownOfBothToo) {
  RunReport report = a_report();
  report.decoding["both"] = report.decoding["medusa"];
  report.decoding["both"]["tau"] = 2.75;
  EXPECT_THAT(report_page(report), HasSubstr("With the heads' tree: 2.500 tokens per step"));
  report.decoding.erase("medusa");
  const std::string page = report_page(report);
  EXPECT_THAT(page, HasSubstr("<h3>Accepted tokens</h3>"));
  EXPECT_THAT(page, HasSubstr("With heads and lookup in one tree: 2.750 tokens per step"));
}

// What is got is measured beside what is needed; an older eval.json has it of batch 1 alone.
TEST(Report, BreakEvenShowsWhatEachBatchGets) {
  RunReport report = a_report();
  EXPECT_THAT(report_page(report), HasSubstr("<td>2.50</td>"));
  for (Json& batch : report.decoding["batches"]) batch["tau"] = 2.03125;
  EXPECT_THAT(report_page(report), HasSubstr("<td>2.03</td>"));
}

TEST(Report, SampledAnswersAreNeitherLosslessNorDifferent) {
  RunReport report = a_report();
  report.decoding["temperature"] = 0.7;
  report.decoding["exact_match"] = report.decoding["divergences"] = nullptr;
  report.decoding["medusa"]["tau_simulated"] = nullptr;
  const std::string page = report_page(report);
  EXPECT_THAT(page, HasSubstr("Sampled at temperature 0.70: not comparable"));
  for (const char* claim : {"Lossless", "Same answers", "differ from plain", "simulated."})
    EXPECT_THAT(page, Not(HasSubstr(claim)));
  EXPECT_EQ(markup_problem(page), "");
}

TEST(Report, ReadsWhatARunDirectoryHoldsAndLeavesGapsForTheRest) {
  const TemporaryDirectory run;
  std::ofstream(run.path() / "metrics.jsonl")
      << R"({"step":1,"loss":2.5,"heads":[2.5,null],"top1":[0.1,0.2],"lr":0.001})"
      << "\n{ torn line\n"
      << R"({"step":1,"data":"eval","eval_loss":1.5,"eval_accept_length":1.25,"eval_heads":[2.0,3.0],"eval_top1":[0.5,0.25]})"
      << "\n";
  std::ofstream(run.path() / "tree.json") << "no tree";
  const RunReport report = read_run_report(run.path());
  ASSERT_EQ(report.steps.size(), 1u);
  EXPECT_TRUE(std::isnan(report.steps[0].heads[1]));
  EXPECT_TRUE(std::isnan(report.steps[0].grad_norm));
  ASSERT_EQ(report.evaluations.size(), 1u);
  EXPECT_EQ(report.evaluations[0].accept_length, 1.25);
  EXPECT_FALSE(report.has_tree);
  write_report(run.path());
  EXPECT_EQ(markup_problem(file_text(run.path() / "report.html")), "");
}

// On paper a closed table could not be opened: every one stands there a second time.
TEST(Report, TablesAreOnPaperToo) {
  const std::string page = report_page(a_report());
  const auto count = [&](const std::string& what) {
    size_t found = 0;
    for (size_t at = page.find(what); at != std::string::npos; at = page.find(what, at + 1)) ++found;
    return found;
  };
  EXPECT_GT(count("<details class=\"screen\">"), 5u);
  EXPECT_EQ(count("<div class=\"paper\">"), count("<details class=\"screen\">"));
}

// x of the marks of a chart whose axis goes from 56 to 340.
std::vector<double> marks_of(const LineChart& chart) {
  std::vector<double> marks;
  const std::string svg = draw(chart);
  for (size_t at = svg.find("cx=\""); at != std::string::npos; at = svg.find("cx=\"", at + 1)) {
    marks.push_back(std::stod(svg.substr(at + 4)));
  }
  return marks;
}

TEST(LineChart, OneEvaluationStandsAtItsStep) {
  LineChart chart;
  chart.series.push_back({"eval", {{100, 1.5}}, true, 0});
  EXPECT_EQ(marks_of(chart), (std::vector<double>{198}));  // nothing else to go by: the middle
  chart.across = {{0, 200}};
  EXPECT_EQ(marks_of(chart), (std::vector<double>{198}));
  chart.across = {{0, 100}};
  EXPECT_EQ(marks_of(chart), (std::vector<double>{340}));
}

TEST(LineChart, ALineOfOnePointIsAMark) {
  LineChart chart;
  chart.series.push_back({"gets", {{1, 2.5}}, false, 0});
  EXPECT_EQ(marks_of(chart).size(), 1u);
  chart.series.back().points.emplace_back(4, 2.4);
  EXPECT_TRUE(marks_of(chart).empty());
}

TEST(Axis, TicksAreRoundAndCoverTheRange) {
  EXPECT_EQ(axis_ticks(0, 1, 5), (std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}));
  EXPECT_EQ(axis_ticks(3, 3, 4).front(), 3);
  for (const auto& [low, high] : {std::pair(0.13, 0.77), std::pair(-3.0, 1200.0), std::pair(1e-5, 2e-5)}) {
    const auto ticks = axis_ticks(low, high, 5);
    EXPECT_LE(ticks.front(), low);
    EXPECT_GE(ticks.back(), high * (1 - 1e-12));
    EXPECT_LE(ticks.size(), 8u);
  }
  EXPECT_EQ(tick_label(0.25, 0.25), "0.25");
  EXPECT_EQ(tick_label(20, 10), "20");
}

std::string browser() {
  for (const char* path : {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return "";
}

// Runs the browser without a window; its standard output goes to `out`.
int browse(const std::string& arguments, const fs::path& profile, const fs::path& out) {
  const std::string command =
      "timeout 60 " + browser() +
      " --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir=" + profile.string() + " " +
      arguments + " > " + out.string() + " 2>/dev/null";
  return std::system(command.c_str());  // NOLINT: paths of the test's own making
}

// In a frame as wide as a phone and in one as wide as a screen nothing is wider than the frame. The widths
// come from a script that is added to a copy of the page; the page itself has none.
TEST(Report, FitsAPhoneAScreenAndPaperInARealBrowser) {
  if (browser().empty()) GTEST_SKIP() << "no chromium here";
  const TemporaryDirectory folder;
  const std::string at = folder.path().string();
  std::string page = report_page(a_report());
  std::ofstream(folder.path() / "report.html") << page;
  page.insert(
      page.find("</body>"),
      "<script>const cut = [...document.querySelectorAll('svg text')].filter(t => {"
      "const text = t.getBoundingClientRect(), svg = t.closest('svg').getBoundingClientRect();"
      "return text.left < svg.left - 1 || text.right > svg.right + 1 || text.bottom > svg.bottom + 1;});"
      "parent.postMessage(innerWidth + ':' + document.documentElement.scrollWidth + ' cut [' +"
      "cut.map(t => t.textContent) + '] ', '*')</script>");
  std::ofstream(folder.path() / "measured.html") << page;
  std::ofstream(folder.path() / "frames.html")
      << "<body><p id=\"widths\"></p><script>onmessage = e => widths.append(e.data)</script>"
         "<iframe src=\"measured.html\" width=\"390\" height=\"800\"></iframe>"
         "<iframe src=\"measured.html\" width=\"1280\" height=\"800\"></iframe></body>";
  ASSERT_EQ(browse("--virtual-time-budget=3000 --dump-dom file://" + at + "/frames.html", folder.path() / "p",
                   folder.path() / "dom"),
            0);
  const std::string dom = file_text(folder.path() / "dom");
  EXPECT_THAT(dom, HasSubstr("390:390 cut [] "));
  EXPECT_THAT(dom, HasSubstr("1280:1280 cut [] "));
  ASSERT_EQ(
      browse("--no-pdf-header-footer --print-to-pdf=" + at + "/report.pdf file://" + at + "/report.html",
             folder.path() / "p", folder.path() / "log"),
      0);
  EXPECT_TRUE(file_text(folder.path() / "report.pdf").starts_with("%PDF"));
}

}  // namespace
}  // namespace gorgon
