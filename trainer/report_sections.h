#pragma once

#include <string>

#include "trainer/report_data.h"

namespace gorgon {

// The parts of report.html; "" where the run has nothing for one.
std::string summary_section(const RunReport& report);
std::string training_section(const RunReport& report);
std::string heads_section(const RunReport& report);     // accuracies of the last evaluation
std::string decoding_section(const RunReport& report);  // what `gorgon eval` measured
std::string tree_section(const RunReport& report);
std::string footer_section(const RunReport& report);

// Pieces that they share.
std::string figure(const std::string& heading, const std::string& drawing, const std::string& caption,
                   const std::string& table = "");
// A table whose first column names the rows; cells are plain text.
std::string html_table(const std::vector<std::string>& head,
                       const std::vector<std::vector<std::string>>& rows);
std::string shown(double value, int digits);  // "-" for what is not finite
std::string shown_percent(double share, int digits = 1);

}  // namespace gorgon
