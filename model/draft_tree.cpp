#include "model/draft_tree.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "kernels/error.h"

namespace gorgon {

namespace {
bool before(const RankPath& a, const RankPath& b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}
}  // namespace

int DraftTree::ranks() const {
  int32_t largest = -1;
  for (const RankPath& path : paths) largest = std::max(largest, *std::max_element(path.begin(), path.end()));
  return largest + 1;
}

std::string to_string(const RankPath& path) {
  std::string out = "[";
  for (size_t i = 0; i < path.size(); ++i) out += (i == 0 ? "" : ",") + std::to_string(path[i]);
  return out + "]";
}

std::string tree_problem(const std::vector<RankPath>& paths) {
  if (static_cast<int64_t>(paths.size()) >= kMaxTreeNodes) {
    return std::to_string(paths.size()) + " paths (at most " + std::to_string(kMaxTreeNodes - 1) + ")";
  }
  const std::set<RankPath> all(paths.begin(), paths.end());
  for (const RankPath& path : paths) {
    if (path.empty()) return "an empty path (the root is not listed)";
    for (const int32_t rank : path) {
      if (rank < 0 || rank >= kMaxTreeRanks) {
        return "rank " + std::to_string(rank) + " (0 to " + std::to_string(kMaxTreeRanks - 1) + ")";
      }
    }
    const RankPath prefix(path.begin(), path.end() - 1);
    if (!prefix.empty() && !all.contains(prefix)) {
      return "path " + to_string(path) + " without its prefix " + to_string(prefix);
    }
  }
  if (all.size() != paths.size()) return "a path that is there twice";
  return "";
}

DraftTree make_draft_tree(std::vector<RankPath> paths) {
  const std::string problem = tree_problem(paths);
  if (!problem.empty()) fail_internal("make_draft_tree", problem);
  std::sort(paths.begin(), paths.end(), before);
  return {std::move(paths)};
}

DraftTree chain_tree(int depth) {
  DraftTree tree;
  for (int d = 1; d <= depth; ++d) tree.paths.emplace_back(static_cast<size_t>(d), 0);
  return tree;
}

TreeBuffers tree_buffers(std::vector<int32_t> parent) {
  const auto n = static_cast<int64_t>(parent.size());
  require(n > 0 && parent[0] == -1, "tree_buffers", "a tree starts with its root");
  TreeBuffers buffers;
  buffers.mask_words = (n + 63) / 64;
  buffers.mask.assign(static_cast<size_t>(n * buffers.mask_words), 0);
  buffers.depth.assign(parent.size(), 0);
  std::vector<bool> has_child(parent.size(), false);
  for (int64_t i = 0; i < n; ++i) {
    uint64_t* row = &buffers.mask[static_cast<size_t>(i * buffers.mask_words)];
    if (i > 0) {
      const int64_t p = parent[static_cast<size_t>(i)];
      require(p >= 0 && p < i, "tree_buffers", "a parent comes before its children");
      has_child[static_cast<size_t>(p)] = true;
      buffers.depth[static_cast<size_t>(i)] = buffers.depth[static_cast<size_t>(p)] + 1;
      std::copy_n(&buffers.mask[static_cast<size_t>(p * buffers.mask_words)], buffers.mask_words, row);
    }
    row[i / 64] |= uint64_t{1} << (i % 64);
  }
  const auto deepest = static_cast<size_t>(*std::max_element(buffers.depth.begin(), buffers.depth.end()));
  for (int64_t i = n - 1; i >= 0; --i) {
    if (has_child[static_cast<size_t>(i)]) continue;
    std::vector<int32_t> row(deepest + 1, -1);
    for (auto node = static_cast<int32_t>(i); node >= 0; node = parent[static_cast<size_t>(node)]) {
      row[static_cast<size_t>(buffers.depth[static_cast<size_t>(node)])] = node;
    }
    buffers.retrieve.push_back(std::move(row));
  }
  buffers.parent = std::move(parent);
  return buffers;
}

std::vector<int32_t> tree_parents(const DraftTree& tree) {
  std::map<RankPath, int32_t> node = {{{}, 0}};
  std::vector<int32_t> parent = {-1};
  for (const RankPath& path : tree.paths) {
    parent.push_back(node.at(RankPath(path.begin(), path.end() - 1)));
    node.emplace(path, static_cast<int32_t>(parent.size()) - 1);
  }
  return parent;
}

std::vector<int32_t> tree_index(const DraftTree& tree, int32_t topk) {
  require(topk >= tree.ranks(), "tree_index", "fewer candidates than the tree names");
  std::vector<int32_t> index = {0};
  for (const RankPath& path : tree.paths) {
    index.push_back(path.back() + topk * (static_cast<int32_t>(path.size()) - 1) + 1);
  }
  return index;
}

}  // namespace gorgon
