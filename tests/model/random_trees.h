#pragma once

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "model/draft_tree.h"

namespace gorgon {

// Prefix-closed trees grown at random: each new path is a known path (or the root) with one more rank.
class RandomTrees {
 public:
  explicit RandomTrees(uint32_t seed) : generator_(seed) {}

  DraftTree tree(int paths, int max_depth = 5, int ranks = 6) {
    std::set<RankPath> known = {{}};
    for (int tries = 0; static_cast<int>(known.size()) <= paths && tries < 100 * paths; ++tries) {
      RankPath path = *std::next(known.begin(), below(static_cast<int>(known.size())));
      if (static_cast<int>(path.size()) == max_depth) continue;
      path.push_back(below(ranks));
      known.insert(path);
    }
    known.erase(RankPath{});
    std::vector<RankPath> shuffled(known.begin(), known.end());
    std::shuffle(shuffled.begin(), shuffled.end(), generator_);
    return make_draft_tree(shuffled);
  }
  int below(int bound) { return static_cast<int>(generator_() % static_cast<uint32_t>(bound)); }
  double uniform() { return static_cast<double>(generator_()) / 4294967296.0; }

 private:
  std::mt19937 generator_;
};

}  // namespace gorgon
