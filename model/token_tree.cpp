#include "model/token_tree.h"

#include <algorithm>
#include <map>

namespace gorgon {

void TokenTree::add_tree(const DraftTree& tree, const std::vector<std::vector<int32_t>>& candidates,
                         int max_depth) {
  std::map<RankPath, int32_t> node = {{{}, 0}};
  for (const RankPath& path : tree.paths) {
    const size_t depth = path.size() - 1;
    if (static_cast<int>(path.size()) > max_depth) break;  // sorted by length
    const auto rank = static_cast<size_t>(path.back());
    const auto above = node.find(RankPath(path.begin(), path.end() - 1));
    if (above == node.end() || rank >= candidates[depth].size()) continue;  // a vocabulary that small
    tokens.push_back(candidates[depth][rank]);
    parent.push_back(above->second);
    node.emplace(path, static_cast<int32_t>(tokens.size()) - 1);
  }
}

void TokenTree::add_path(std::span<const int32_t> path) {
  int32_t at = 0;
  for (const int32_t token : path) {
    int32_t child = at + 1;
    const auto n = static_cast<int32_t>(tokens.size());
    while (child < n &&
           !(parent[static_cast<size_t>(child)] == at && tokens[static_cast<size_t>(child)] == token)) {
      ++child;
    }
    if (child == n) {
      tokens.push_back(token);
      parent.push_back(at);
    }
    at = child;
  }
}

}  // namespace gorgon
