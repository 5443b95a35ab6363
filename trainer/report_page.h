#pragma once

#include <filesystem>
#include <string>

#include "trainer/report_data.h"

namespace gorgon {

// Names within a run directory.
constexpr const char* kReportFile = "report.html";
constexpr const char* kEvalFile = "eval.json";  // what `gorgon eval` found out about the run last

// The run as one HTML page without scripts and without anything fetched: curves of loss, accuracy and
// learning rate, accepted lengths, the tree, speed and its parts, losslessness, the config; tables beside the
// charts. Light and dark, for screens of any width and for paper.
std::string report_page(const RunReport& report);

// Writes report.html of a run directory from what lies in it, atomically.
void write_report(const std::filesystem::path& run);

// The style sheet of the page.
extern const char* const kReportStyle;

}  // namespace gorgon
