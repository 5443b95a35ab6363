#include "model/tree_file.h"

#include <gtest/gtest.h>

#include "data/file.h"
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

// The list that the reference implementation decodes a 7B model with (tests/oracle/medusa_choices.py).
TEST(TreeFile, ReadsTheReferencesList) {
  const std::string path = GORGON_TEST_DATA "/decoding/mc_sim_7b_63.json";
  const DraftTree tree = read_tree(path, 4).tree;
  EXPECT_EQ(tree.nodes(), 64);
  EXPECT_EQ(tree.depth(), 4);
  EXPECT_EQ(tree.ranks(), 10);
  EXPECT_EQ(read_tree(path, 5).tree, tree);
  EXPECT_EQ(error_of(read_text(path, ExitCode::config), 3),
            "t.json: paths[36]: expected at most 3 ranks (one a head), found 4; make one with `gorgon tree`");

  const TreeBuffers buffers = tree_buffers(tree_parents(tree));
  EXPECT_EQ(buffers.mask_words, 1);
  EXPECT_EQ(buffers.retrieve.size(), 42u);  // candidates of a step, as its authors count them
  EXPECT_EQ(buffers.retrieve.front(), (std::vector<int32_t>{0, 1, 11, 39, 63}));
  EXPECT_EQ(buffers.retrieve.back(), (std::vector<int32_t>{0, 1, 19, -1, -1}));
  EXPECT_EQ(tree_index(tree, 10).back(), 32);  // the second of head 4, behind the root's and ten of each head
}

TEST(TreeFile, AnEmptyListIsTheRootAlone) {
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
