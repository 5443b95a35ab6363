#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/draft_tree.h"

namespace gorgon {

// The drawings of report.html as inline SVG. Numbers that are not finite are left out.

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // ascending x
  bool marks = false;                             // single points joined by a dashed line, not a curve
  int colour = 0;
};
struct LineChart {
  std::string title, x_label;
  std::vector<ChartSeries> series;
  bool percent = false;        // y are shares
  std::optional<double> from;  // where the y axis must begin at the latest
  std::optional<double> cap;   // where it must end at the latest; larger values lie on its upper edge
  std::optional<std::pair<double, double>> across = {};  // what the x axis must cover
  std::vector<double> x_ticks = {};                      // marks of the x axis; none: round numbers
};
std::string draw(const LineChart& chart);

struct Bar {
  std::string name, label;                              // beside the bar, and behind it
  std::vector<double> parts;                            // stacked
  std::optional<std::pair<double, double>> range = {};  // smallest and largest
};
struct BarChart {
  std::string title;
  std::vector<Bar> bars;
  std::vector<std::string> parts;  // names of the parts; none where every bar has one
};
std::string draw(const BarChart& chart);  // horizontal bars

// Columns of shares of steps that accepted 0, 1, 2 ... drafted tokens.
std::string draw_histogram(const std::string& title, const std::vector<int64_t>& counts);

// A draft tree from left to right, the root first. probability[i]: share of steps at which path i is right;
// empty where nobody knows.
std::string draw_tree(const DraftTree& tree, const std::vector<double>& probability);

}  // namespace gorgon
