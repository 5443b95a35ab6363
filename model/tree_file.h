#pragma once

#include <filesystem>
#include <string>

#include "data/json.h"
#include "model/draft_tree.h"

namespace gorgon {

// tree.json: {"version": 1, "paths": [[rank, ...], ...], "expected_accept_length", "made_from"}, paths sorted
// by (length, lexicographic).
struct TreeFile {
  DraftTree tree;
  double expected_accept_length = 0;  // tokens per step over the walk, root included; 0 = not known
  Json made_from = Json::object();    // what the tree was built from, for people and for comparison
};

// tree.json, or a bare list of paths in JSON as the reference implementation's choices are written.
// num_heads: K of the heads it is for. Throws Error(config) naming file, field, what was expected and found:
// no JSON, another version, ranks that are no integers, paths that are no tree, a path longer than K.
TreeFile parse_tree(std::string_view text, const std::string& file, int num_heads);
TreeFile read_tree(const std::filesystem::path& path, int num_heads);

std::string to_json(const TreeFile& file);
std::string tree_sha256(const DraftTree& tree);  // of the sorted paths as compact JSON

}  // namespace gorgon
