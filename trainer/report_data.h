#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/json.h"
#include "model/draft_tree.h"

namespace gorgon {

// What a run directory says about its run, read back from its files. A file that is missing or has a line
// that cannot be read leaves a gap, never an error: a report shows what there is. Numbers that are not there
// are NaN.
struct RunReport {
  struct Step {
    double step, loss, grad_norm, lr, tokens_per_s;
    std::vector<double> heads, top1;  // [K]
    double rank_ratio = NAN, slowest_rank = NAN;
  };
  struct Evaluation {
    double step, loss, accept_length;
    std::string data;                      // the file's name
    std::vector<double> heads;             // [K] cross-entropies
    std::vector<std::vector<double>> top;  // [5][K] shares
  };

  std::string name;    // of the directory
  std::string config;  // config.yaml
  std::vector<Step> steps;
  std::vector<Evaluation> evaluations;
  Json decoding;  // eval.json, or null
  DraftTree tree;
  std::vector<double> tree_probability;  // share of steps at which each path is right; empty = not known
  bool has_tree = false;
};

RunReport read_run_report(const std::filesystem::path& run);

// A number of an object by keys from the outside in; NaN where there is none.
double number_at(const Json& json, std::initializer_list<const char*> keys);

}  // namespace gorgon
