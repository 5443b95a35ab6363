#include "trainer/report_charts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "trainer/svg.h"

namespace gorgon {
namespace {

constexpr double kWidth = 400;  // of every chart: readable on a phone, two beside each other on a screen
constexpr int kColours = 8;
constexpr size_t kMostPoints = 240;

std::string colour_class(const char* what, int colour) {
  return fmt::format("{} c{}", what, colour % kColours);
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

// Means over as many equal stretches as can be seen.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points) {
  std::vector<std::pair<double, double>> finite, out;
  for (const auto& point : points) {
    if (std::isfinite(point.second)) finite.push_back(point);
  }
  if (finite.size() <= kMostPoints) return finite;
  for (size_t i = 0; i < kMostPoints; ++i) {
    const size_t begin = finite.size() * i / kMostPoints, end = finite.size() * (i + 1) / kMostPoints;
    double x = 0, y = 0;
    for (size_t j = begin; j < end; ++j) {
      x += finite[j].first;
      y += finite[j].second;
    }
    const auto count = static_cast<double>(end - begin);
    out.emplace_back(x / count, y / count);
  }
  return out;
}

// As much of a name as a third of the chart holds.
std::string shown_name(const ChartSeries& series) {
  constexpr size_t kLongest = 14;  // bytes
  if (series.name.size() <= kLongest) return series.name;
  size_t end = kLongest - 2;
  while (end > 0 && (static_cast<unsigned char>(series.name[end]) & 0xc0) == 0x80) --end;  // whole characters
  return series.name.substr(0, end) + "..";
}

// Where a line chart's data lie on the paper.
class Frame {
 public:
  static constexpr double kLeft = 56, kTop = 12, kBottom = 38, kHeight = 250;

  explicit Frame(const LineChart& chart) : percent_(chart.percent), right_(name_width(chart)) {
    Range x, y;
    for (const ChartSeries& series : chart.series) {
      for (const auto& [px, py] : series.points) {
        if (!std::isfinite(py)) continue;
        x.add(px);
        y.add(chart.cap ? std::min(py, *chart.cap) : py);
      }
    }
    if (chart.across) {
      x.add(chart.across->first);
      x.add(chart.across->second);
    }
    if (x.empty()) x.add(0);
    if (y.empty()) y.add(0);
    if (chart.from) y.add(*chart.from);
    x_ticks_ = chart.x_ticks.empty() ? axis_ticks(x.low, x.high, 5) : chart.x_ticks;
    y_ticks_ = axis_ticks(y.low, y.high, 5);
    const bool is_single = x.low == x.high;  // which stands in the middle
    x_low_ = is_single ? x.low - 1 : x.low;
    x_high_ = is_single ? x.high + 1 : x.high;
    if (is_single) x_ticks_ = {x.low};
    std::erase_if(x_ticks_, [&](double tick) { return tick < x_low_ || tick > x_high_; });
  }
  double x(double value) const {
    return kLeft + (value - x_low_) / (x_high_ - x_low_) * (kWidth - kLeft - right_);
  }
  double y(double value) const {
    const double share = std::min(1.0, (value - y_ticks_.front()) / (y_ticks_.back() - y_ticks_.front()));
    return kHeight - kBottom - share * (kHeight - kBottom - kTop);
  }
  void draw_axes(Svg& svg, const std::string& x_label) const {
    const double scale = percent_ ? 100 : 1, step = (y_ticks_[1] - y_ticks_[0]) * scale;
    for (const double tick : y_ticks_) {
      svg.line(kLeft, y(tick), kWidth - right_, y(tick), "grid");
      svg.text(kLeft - 6, y(tick) + 4, tick_label(tick * scale, step) + (percent_ ? " %" : ""), "axis",
               Svg::Anchor::end);
    }
    double x_step = 1;
    for (size_t i = 1; i < x_ticks_.size(); ++i)
      x_step = i == 1 ? x_ticks_[1] - x_ticks_[0] : std::min(x_step, x_ticks_[i] - x_ticks_[i - 1]);
    for (const double tick : x_ticks_) {
      svg.line(x(tick), kHeight - kBottom, x(tick), kHeight - kBottom + 4, "axis-line");
      svg.text(x(tick), kHeight - kBottom + 16, tick_label(tick, x_step), "axis", Svg::Anchor::middle);
    }
    svg.line(kLeft, kHeight - kBottom, kWidth - right_, kHeight - kBottom, "axis-line");
    svg.text((kLeft + kWidth - right_) / 2, kHeight - 5, x_label, "axis", Svg::Anchor::middle);
  }
  double right() const { return right_; }
  std::string value_label(double value) const {
    return percent_ ? fmt::format("{:.1f} %", 100 * value) : fmt::format("{:.4g}", value);
  }

 private:
  // Room for the names at the ends of the lines.
  static double name_width(const LineChart& chart) {
    constexpr double kCharacter = 8.5, kLeast = 60;
    size_t longest = 0;
    for (const ChartSeries& series : chart.series) longest = std::max(longest, shown_name(series).size());
    return std::max(kLeast, 10 + kCharacter * static_cast<double>(longest));
  }

  bool percent_;
  double right_;
  std::vector<double> x_ticks_, y_ticks_;
  double x_low_ = 0, x_high_ = 1;
};

// Names at the ends of lines, moved apart where they would lie on each other.
void draw_names(Svg& svg, double right, std::vector<std::pair<double, const ChartSeries*>> names) {
  constexpr double kApart = 13;
  std::sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 1; i < names.size(); ++i)
    names[i].first = std::max(names[i].first, names[i - 1].first + kApart);
  const double bottom = Frame::kHeight - Frame::kBottom;
  for (size_t i = names.size(); i-- > 0;) {
    const double below = i + 1 < names.size() ? names[i + 1].first - kApart : bottom;
    names[i].first = std::min(names[i].first, below);
    svg.text(kWidth - right + 6, names[i].first + 4, shown_name(*names[i].second),
             colour_class("name", names[i].second->colour));
  }
}

}  // namespace

std::string draw(const LineChart& chart) {
  Svg svg(kWidth, Frame::kHeight, chart.title);
  const Frame frame(chart);
  frame.draw_axes(svg, chart.x_label);
  std::vector<std::pair<double, const ChartSeries*>> names;
  for (const ChartSeries& series : chart.series) {
    Svg::Points points;
    const auto shown = thinned(series.points);
    for (const auto& [x, y] : shown) points.emplace_back(frame.x(x), frame.y(y));
    if (points.empty()) continue;
    svg.polyline(points, colour_class(series.marks ? "curve dashed" : "curve", series.colour));
    const bool marks = series.marks || points.size() == 1;  // a line of one point is none
    for (size_t i = 0; marks && i < points.size(); ++i) {
      svg.circle(points[i].first, points[i].second, 3.2, colour_class("mark", series.colour),
                 fmt::format("{}: {} at {} {:.0f}", series.name.empty() ? chart.title : series.name,
                             frame.value_label(shown[i].second), chart.x_label, shown[i].first));
    }
    if (!series.name.empty()) names.emplace_back(points.back().second, &series);
  }
  draw_names(svg, frame.right(), std::move(names));
  return svg.str();
}

std::string draw(const BarChart& chart) {
  constexpr double kLeft = 84, kRight = 104, kRow = 34, kBar = 20, kTop = 6, kLegend = 24;
  double largest = 0;
  for (const Bar& bar : chart.bars) {
    largest = std::max(largest, std::accumulate(bar.parts.begin(), bar.parts.end(), 0.0));
    if (bar.range) largest = std::max(largest, bar.range->second);
  }
  const double scale = (kWidth - kLeft - kRight) / (largest > 0 ? largest : 1);
  const double legend = chart.parts.empty() ? 0 : kLegend;
  Svg svg(kWidth, kTop + kRow * static_cast<double>(chart.bars.size()) + legend, chart.title);
  double y = kTop;
  for (const Bar& bar : chart.bars) {
    svg.text(kLeft - 8, y + kBar / 2 + 4, bar.name, "strong", Svg::Anchor::end);
    double x = kLeft;
    for (size_t i = 0; i < bar.parts.size(); ++i) {
      const std::string part = i < chart.parts.size() ? chart.parts[i] + ", " : "";
      svg.rect(x, y, bar.parts[i] * scale, kBar, colour_class("bar", static_cast<int>(i)),
               bar.name + ": " + part + fmt::format("{:.4g}", bar.parts[i]));
      x += bar.parts[i] * scale;
    }
    if (bar.range) {
      const double from = kLeft + bar.range->first * scale, to = kLeft + bar.range->second * scale;
      svg.line(from, y + kBar / 2, to, y + kBar / 2, "whisker");
      svg.line(from, y + 5, from, y + kBar - 5, "whisker");
      svg.line(to, y + 5, to, y + kBar - 5, "whisker");
      x = std::max(x, to);
    }
    svg.text(x + 7, y + kBar / 2 + 4, bar.label);
    y += kRow;
  }
  double x = kLeft;
  for (size_t i = 0; i < chart.parts.size(); ++i) {
    svg.rect(x, y + 4, 11, 11, colour_class("bar", static_cast<int>(i)));
    svg.text(x + 16, y + 14, chart.parts[i], "axis");
    x += 30 + 7.2 * static_cast<double>(chart.parts[i].size());
  }
  return svg.str();
}

std::string draw_histogram(const std::string& title, const std::vector<int64_t>& counts) {
  constexpr double kHeight = 220, kBottom = 38, kTop = 24, kSide = 16;
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  const int64_t most = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  Svg svg(kWidth, kHeight, title);
  const double column = (kWidth - 2 * kSide) / static_cast<double>(std::max<size_t>(counts.size(), 1));
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto count = static_cast<double>(counts[i]);
    const double height = most > 0 ? count / static_cast<double>(most) * (kHeight - kBottom - kTop) : 0;
    const double x = kSide + column * static_cast<double>(i), y = kHeight - kBottom - height;
    const std::string share = fmt::format("{:.1f} %", total > 0 ? 100 * count / total : 0);
    const double width = std::min(column * 0.72, 72.0), middle = x + column / 2;
    svg.rect(middle - width / 2, y, width, height, colour_class("bar", 0),
             fmt::format("{} accepted: {} steps, {}", i, counts[i], share));
    svg.text(middle, y - 6, share, "axis", Svg::Anchor::middle);
    svg.text(middle, kHeight - kBottom + 16, std::to_string(i), "axis", Svg::Anchor::middle);
  }
  svg.line(kSide, kHeight - kBottom, kWidth - kSide, kHeight - kBottom, "axis-line");
  svg.text(kWidth / 2, kHeight - 5, "drafted tokens accepted in a step", "axis", Svg::Anchor::middle);
  return svg.str();
}

namespace {

// Rows of the nodes: leaves one under the other, parents in the middle of their children.
std::vector<double> node_rows(const std::vector<int32_t>& parent) {
  const size_t nodes = parent.size();
  std::vector<std::vector<size_t>> children(nodes);
  for (size_t i = 1; i < nodes; ++i) children[static_cast<size_t>(parent[i])].push_back(i);
  std::vector<double> row(nodes, 0);
  double next = 0;
  const auto place = [&](const auto& self, size_t node) -> void {
    for (const size_t child : children[node]) self(self, child);
    row[node] =
        children[node].empty() ? next++ : (row[children[node].front()] + row[children[node].back()]) / 2;
  };
  place(place, 0);
  return row;
}

}  // namespace

std::string draw_tree(const DraftTree& tree, const std::vector<double>& probability) {
  constexpr double kRow = 22, kTop = 34, kLeft = 34, kRight = 84;
  const std::vector<int32_t> parent = tree_parents(tree);
  const std::vector<double> row = node_rows(parent);
  const double rows = 1 + *std::max_element(row.begin(), row.end());
  const double column = (kWidth - kLeft - kRight) / std::max(tree.depth(), 1);
  Svg svg(kWidth, kTop + rows * kRow + 6, fmt::format("draft tree of {} nodes", tree.nodes()));
  const auto x = [&](size_t depth) { return kLeft + column * static_cast<double>(depth); };
  const auto y = [&](size_t i) { return kTop + (row[i] + 0.5) * kRow; };
  const auto depth_of = [&](size_t i) { return i == 0 ? size_t{0} : tree.paths[i - 1].size(); };
  const auto share = [&](size_t i) {
    return i == 0 ? 1.0 : i - 1 < probability.size() ? probability[i - 1] : 0.0;
  };
  svg.text(x(0), 14, "root", "axis", Svg::Anchor::middle);
  for (int depth = 1; depth <= tree.depth(); ++depth) {
    svg.text(x(static_cast<size_t>(depth)), 14, fmt::format("head {}", depth), "axis", Svg::Anchor::middle);
  }
  for (size_t i = 1; i < parent.size(); ++i) {
    const auto from = static_cast<size_t>(parent[i]);
    svg.curve(x(depth_of(from)), y(from), x(depth_of(i)), y(i), 1 + 5 * share(i), "edge");
  }
  for (size_t i = 0; i < parent.size(); ++i) {
    const std::string rank = i == 0 ? "root" : fmt::format("rank {}", tree.paths[i - 1].back());
    const bool known = i > 0 && !probability.empty();
    const std::string percent = known ? fmt::format("{:.1f} %", 100 * share(i)) : "";
    svg.circle(x(depth_of(i)), y(i), 4 + 5 * std::sqrt(share(i)),
               colour_class("node", static_cast<int>(depth_of(i))),
               rank + (known ? ", right in " + percent : ""));
    const std::string label = i == 0  ? ""
                              : known ? fmt::format("{} · {}", tree.paths[i - 1].back(), percent)
                                      : std::to_string(tree.paths[i - 1].back());
    svg.text(x(depth_of(i)) + 11, y(i) + 4, label, "halo");
  }
  return svg.str();
}

}  // namespace gorgon
