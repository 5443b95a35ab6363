#include "model/tree_file.h"

#include <utility>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

[[noreturn]] void refuse(const std::string& file, const std::string& key, const std::string& expected,
                         const std::string& found) {
  fail(ExitCode::config, {file, key, expected, found, "make one with `gorgon tree`"});
}

RankPath parse_path(const Json& value, const std::string& file, const std::string& key) {
  if (!value.is_array()) refuse(file, key, "a list of ranks", quote_value(value.dump()));
  RankPath path;
  for (const Json& rank : value) {
    // Through unsigned or signed 64 bits: a huge number must not wrap into a rank.
    const bool fits = rank.is_number_integer() && rank.dump().size() <= 9;
    if (!fits) refuse(file, key, "integer ranks", quote_value(rank.dump()));
    path.push_back(rank.get<int32_t>());
  }
  return path;
}

}  // namespace

TreeFile parse_tree(std::string_view text, const std::string& file, int num_heads) {
  JsonOptions options;
  options.file = file;
  options.code = ExitCode::config;
  options.reject_duplicate_keys = true;
  const Json json = parse_json(text, options);
  TreeFile result;
  const Json* list = &json;
  if (json.is_object()) {
    json_int(json, "version", 1, 1, options);
    if (!json.contains("paths")) refuse(file, "paths", "a list of rank paths", "nothing");
    list = &json["paths"];
    if (json.contains("expected_accept_length")) {
      result.expected_accept_length = json_number(json, "expected_accept_length", options);
    }
    if (json.contains("made_from")) result.made_from = json["made_from"];
  }
  if (!list->is_array()) refuse(file, "paths", "a list of rank paths", quote_value(list->dump()));
  std::vector<RankPath> paths;
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string key = "paths[" + std::to_string(i) + "]";
    paths.push_back(parse_path((*list)[i], file, key));
    if (std::cmp_greater(paths.back().size(), num_heads)) {
      refuse(file, key, "at most " + std::to_string(num_heads) + " ranks (one a head)",
             std::to_string(paths.back().size()));
    }
  }
  const std::string problem = tree_problem(paths);
  if (!problem.empty()) refuse(file, "paths", "a set of paths closed under prefixes", problem);
  result.tree = make_draft_tree(std::move(paths));
  return result;
}

TreeFile read_tree(const std::filesystem::path& path, int num_heads) {
  return parse_tree(read_text(path, ExitCode::config), path.string(), num_heads);
}

std::string to_json(const TreeFile& file) {
  std::string out =
      "{\"version\": 1,\n \"expected_accept_length\": " + Json(file.expected_accept_length).dump() +
      ",\n \"made_from\": " + file.made_from.dump() + ",\n \"paths\": [";
  for (size_t i = 0; i < file.tree.paths.size(); ++i) {
    out += (i == 0 ? "" : ", ") + to_string(file.tree.paths[i]);
  }
  return out + "]}\n";
}

std::string tree_sha256(const DraftTree& tree) {
  return sha256_of(Json(tree.paths).dump());
}

}  // namespace gorgon
