#include "model/tree_file.h"

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

std::string error_of(const std::string& text, int heads) {
  try {
    parse_tree(text, "t.json", heads);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::config);
    return error.what();
  }
  return "";
}

TEST(TreeFile, RoundTrip) {
  TreeFile file;
  file.tree = make_draft_tree({{1}, {0, 0}, {0}});
  file.expected_accept_length = 1.43;
  file.made_from = {{"data", "a.jsonl"}, {"prompts", 300}};
  const TreeFile again = parse_tree(to_json(file), "t.json", 2);
  EXPECT_EQ(again.tree, file.tree);
  EXPECT_EQ(again.expected_accept_length, 1.43);
  EXPECT_EQ(again.made_from, file.made_from);
  EXPECT_EQ(Json::parse(to_json(file))["paths"], Json::parse("[[0],[1],[0,0]]"));
  EXPECT_EQ(tree_sha256(file.tree).size(), 64u);
}

TEST(TreeFile, ReadsTheReferencesLists) {
  const TreeFile file = parse_tree("[[0], [0, 0], [1], [0, 1], [2], [0, 0, 0], [1, 0]]", "choices.json", 5);
  EXPECT_EQ(file.tree.nodes(), 8);
  EXPECT_EQ(file.tree.depth(), 3);
  EXPECT_EQ(parse_tree("[]", "t.json", 1).tree.nodes(), 1);
}

TEST(TreeFile, OneLineForEachMistake) {
  const std::string remedy = "; make one with `gorgon tree`";
  EXPECT_EQ(error_of("[[0],[0,0],[0,0,0]]", 2),
            "t.json: paths[2]: expected at most 2 ranks (one a head), found 3" + remedy);
  EXPECT_EQ(error_of("[[0],[1,0]]", 2),
            "t.json: paths: expected a set of paths closed under prefixes, found path [1,0] without its "
            "prefix [1]" +
                remedy);
  EXPECT_EQ(error_of("[[0.5]]", 2), "t.json: paths[0]: expected integer ranks, found '0.5'" + remedy);
  EXPECT_EQ(error_of("[[99999999999]]", 2),
            "t.json: paths[0]: expected integer ranks, found '99999999999'" + remedy);
  EXPECT_EQ(error_of("{\"version\": 1}", 2),
            "t.json: paths: expected a list of rank paths, found nothing" + remedy);
  EXPECT_NE(error_of("{\"version\": 2, \"paths\": []}", 2), "");
  EXPECT_NE(error_of("[[0]", 2), "");
}

}  // namespace
}  // namespace gorgon
