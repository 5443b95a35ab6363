#include "trainer/svg.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace gorgon {
namespace {

std::string attribute(std::string_view css_class) {
  return css_class.empty() ? "" : fmt::format(" class=\"{}\"", css_class);
}

const char* name(Svg::Anchor anchor) {
  switch (anchor) {
    case Svg::Anchor::middle:
      return " text-anchor=\"middle\"";
    case Svg::Anchor::end:
      return " text-anchor=\"end\"";
    case Svg::Anchor::start:
      break;
  }
  return "";
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') {
          out += "\xef\xbf\xbd";
        } else {
          out += c;
        }
    }
  }
  return out;
}

Svg::Svg(double width, double height, std::string_view title)
    : body_(fmt::format("<svg role=\"img\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
                        "height=\"{1:.0f}\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>{2}</title>\n",
                        width, height, escape_markup(title))) {}

void Svg::close(std::string_view element, std::string_view tip) {
  body_ += tip.empty() ? "/>\n" : fmt::format("><title>{}</title></{}>\n", escape_markup(tip), element);
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  body_ += fmt::format("<line{} x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
                       attribute(css_class), x1, y1, x2, y2);
}

void Svg::polyline(const Points& points, std::string_view css_class) {
  body_ += fmt::format("<polyline{} points=\"", attribute(css_class));
  for (const auto& [x, y] : points) body_ += fmt::format("{:.1f},{:.1f} ", x, y);
  body_ += "\"/>\n";
}

void Svg::rect(double x, double y, double width, double height, std::string_view css_class,
               std::string_view tip) {
  body_ += fmt::format("<rect{} x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"",
                       attribute(css_class), x, y, std::max(width, 0.0), std::max(height, 0.0));
  close("rect", tip);
}

void Svg::circle(double x, double y, double radius, std::string_view css_class, std::string_view tip) {
  body_ +=
      fmt::format("<circle{} cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"", attribute(css_class), x, y, radius);
  close("circle", tip);
}

void Svg::curve(double x1, double y1, double x2, double y2, double stroke, std::string_view css_class) {
  const double middle = (x1 + x2) / 2;
  body_ += fmt::format(
      "<path{0} d=\"M{1:.1f},{2:.1f} C{5:.1f},{2:.1f} {5:.1f},{4:.1f} {3:.1f},{4:.1f}\" "
      "stroke-width=\"{6:.1f}\"/>\n",
      attribute(css_class), x1, y1, x2, y2, middle, stroke);
}

void Svg::text(double x, double y, std::string_view text, std::string_view css_class, Anchor anchor) {
  body_ += fmt::format("<text{} x=\"{:.1f}\" y=\"{:.1f}\"{}>{}</text>\n", attribute(css_class), x, y,
                       name(anchor), escape_markup(text));
}

std::vector<double> axis_ticks(double low, double high, int count) {
  if (!(high > low)) high = low + (low == 0 ? 1 : std::abs(low));
  const double rough = (high - low) / std::max(count, 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= rough) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9);
  for (int i = 0; ticks.empty() || ticks.back() < high - 1e-9 * step; ++i)
    ticks.push_back((first + i) * step);
  return ticks;
}

std::string tick_label(double value, double step) {
  const double magnitude = std::abs(value);
  if (value != 0 && (magnitude < 1e-3 || magnitude >= 1e6)) return fmt::format("{:.3g}", value);
  int digits = 0;
  for (double rest = step; digits < 6 && std::abs(rest - std::round(rest)) > 1e-6; ++digits) rest *= 10;
  return fmt::format("{:.{}f}", value, digits);
}

}  // namespace gorgon
