#include "trainer/report_page.h"

#include <cmath>

#include <fmt/format.h>

#include "data/file.h"
#include "trainer/report_sections.h"
#include "trainer/svg.h"

namespace gorgon {

std::string report_page(const RunReport& report) {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{} - Gorgon</title>\n"
      "<style>{}</style>\n</head>\n<body>\n<main>\n",
      escape_markup(report.name), kReportStyle);
  page += summary_section(report);
  page += training_section(report);
  page += heads_section(report);
  page += decoding_section(report);
  page += tree_section(report);
  if (!report.config.empty()) {
    page +=
        fmt::format("<h2>Configuration</h2>\n<pre tabindex=\"0\">{}</pre>\n", escape_markup(report.config));
  }
  page += "</main>\n" + footer_section(report) + "</body>\n</html>\n";
  return page;
}

void write_report(const std::filesystem::path& run) {
  write_atomically(run / kReportFile, report_page(read_run_report(run)));
}

}  // namespace gorgon
