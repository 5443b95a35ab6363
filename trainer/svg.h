#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gorgon {

// Text for HTML and SVG, in elements and in quoted attributes. Control characters become U+FFFD.
std::string escape_markup(std::string_view text);

// A drawing as inline SVG: user units are CSS pixels at its natural width, colours come from classes of the
// page's style sheet. Coordinates are written with one digit behind the point. The title is what a screen
// reader says of it.
class Svg {
 public:
  enum class Anchor { start, middle, end };
  using Points = std::vector<std::pair<double, double>>;

  Svg(double width, double height, std::string_view title);

  void line(double x1, double y1, double x2, double y2, std::string_view css_class);
  void polyline(const Points& points, std::string_view css_class);
  // A shape with a non-empty `tip` tells it where a mouse rests on it.
  void rect(double x, double y, double width, double height, std::string_view css_class,
            std::string_view tip = {});
  void circle(double x, double y, double radius, std::string_view css_class, std::string_view tip = {});
  void curve(double x1, double y1, double x2, double y2, double stroke, std::string_view css_class);
  void text(double x, double y, std::string_view text, std::string_view css_class = {},
            Anchor anchor = Anchor::start);
  std::string str() const { return body_ + "</svg>\n"; }

 private:
  void close(std::string_view element, std::string_view tip);

  std::string body_;
};

// Round numbers that cover [low, high], about `count` of them, ascending.
std::vector<double> axis_ticks(double low, double high, int count);
std::string tick_label(double value, double step);  // with the digits that a step needs

}  // namespace gorgon
