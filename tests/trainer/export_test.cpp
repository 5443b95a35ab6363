#include "trainer/export.h"

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "data/file.h"
#include "data/json.h"
#include "kernels/error.h"
#include "model/decoder.h"
#include "tests/data/temporary_directory.h"
#include "tests/model/temporary_heads.h"
#include "tests/model/tiny_model.h"

namespace gorgon {
namespace {

class ExportTest : public testing::Test {
 protected:
  FoundHeads found() { return found(file_); }
  FoundHeads found(TemporaryHeads& file) {
    FoundHeads heads;
    heads.file = file.write();
    heads.directory = folder_.path();
    heads.config.bf16 = false;
    heads.config.model_path = "models/tiny.gguf";
    return heads;
  }
  std::filesystem::path output() const { return folder_.path() / "export"; }
  void add_block() {
    file_.add("0.0.linear.weight", model_.matrix(32, 32, 1.0));
    file_.add("0.0.linear.bias", model_.matrix(32, 1, 0.1), true);
  }
  DraftHeads reload() {
    return DraftHeads::load(output() / kExportedHeadsFile, model_.weights().lm_head, DType::f32, stream_);
  }

  TinyModel model_{77};
  Stream stream_{Device{}, 2};
  TemporaryHeads file_;
  TemporaryDirectory folder_;
};

TEST_F(ExportTest, OwnHeadsKeepTheirBits) {
  file_.add_heads(model_, 3);
  write_atomically(folder_.path() / kTreeFile, "{\"version\": 1, \"paths\": [[0]]}\n");
  const ExportReport report = export_hf(found(), model_.weights(), output(), stream_);
  EXPECT_EQ(report.heads, 3);
  EXPECT_EQ(report.largest_difference, 0);
  EXPECT_EQ(report.files, (std::vector<std::string>{kExportedHeadsFile, "config.json", kTreeFile}));
  const Json config = Json::parse(read_text(output() / "config.json", ExitCode::checkpoint));
  EXPECT_EQ(config["medusa_num_heads"], 3);
  EXPECT_EQ(config["num_medusa_heads"], 3);
  EXPECT_EQ(config["medusa_num_layers"], 1);
  EXPECT_EQ(config["model_type"], "medusa");
  EXPECT_EQ(config["medusa_fc_bias"], true);
  EXPECT_FALSE(config.contains("architectures"));
  // Every other key with "num" and "heads" or "layers" would be taken for one of the heads'.
  for (const auto& [key, value] : config.items()) {
    const bool counts = key.find("num") != std::string::npos &&
                        (key.find("heads") != std::string::npos || key.find("layers") != std::string::npos);
    EXPECT_EQ(counts, key == "medusa_num_heads" || key == "num_medusa_heads" || key == "medusa_num_layers")
        << key;
  }
}

TEST_F(ExportTest, SharedHeadsGetALinear) {
  add_block();
  EXPECT_EQ(export_hf(found(), model_.weights(), output(), stream_).largest_difference, 0);
  EXPECT_EQ(reload().outputs(), 24);
}

TEST_F(ExportTest, LowRankIsMerged) {
  add_block();
  file_.add("0.1.A", model_.matrix(4, 32, 1.0));
  file_.add("0.1.B", model_.matrix(24, 4, 1.0));
  const double difference = export_hf(found(), model_.weights(), output(), stream_).largest_difference;
  EXPECT_LT(difference, 1e-5);  // f32 sums in another order
}

TEST_F(ExportTest, PrunedRowsAreExpandedWithZeros) {
  add_block();
  file_.add("0.1.weight", model_.matrix(3, 32, 1.0));
  file_.add("vocab_ids", DType::i32, {3},
            std::make_shared<const Tensor>(Tensor::of(std::vector<int32_t>{1, 5, 9}, {3})));
  EXPECT_EQ(export_hf(found(), model_.weights(), output(), stream_).largest_difference, 0);
  const DraftHeads heads = reload();
  EXPECT_EQ(heads.outputs(), 24);
  Tensor logits(DType::f32, {1, 24});
  heads.logits(0, model_.matrix(1, 32, 3.0).view(), logits.view(), stream_);
  for (const int64_t id : {0, 2, 4, 8, 23}) EXPECT_EQ(logits.as<float>()[id], 0);
  for (const int64_t id : {1, 5, 9}) EXPECT_NE(logits.as<float>()[id], 0);
}

// A head that always says the token which the model says most. With logits below zero the tokens that it
// leaves out win once they have rows of zeros; above zero nothing changes.
TEST_F(ExportTest, MeasuresWhatExpandingDoesToTheAcceptedLength) {
  std::map<int32_t, int> said;
  for (const int32_t token : {1, 5, 9}) {
    DecoderOptions options;
    options.max_new_tokens = 48;
    const Backbone backbone(model_.weights(), DType::f32);
    const Answer answer = Decoder(backbone, nullptr, options, stream_).answer({token});
    for (const int32_t next : answer.tokens) ++said[next];
  }
  const int32_t most = std::max_element(said.begin(), said.end(), [](const auto& a, const auto& b) {
                         return a.second < b.second;
                       })->first;
  std::set<int32_t> kept{1, 5, 9, most};
  const std::vector<int32_t> ids(kept.begin(), kept.end());
  const auto n = static_cast<int64_t>(ids.size());
  for (const bool above : {true, false}) {
    // The block's output is its bias of 10 and the state: about 10 in every place.
    Tensor rows = Tensor::zeros(DType::f32, {n, 32});
    for (int64_t i = 0; i < n * 32; ++i) {
      const bool is_most = ids[static_cast<size_t>(i / 32)] == most;
      rows.as<float>()[i] = above ? (is_most ? 2.0f : 1.0f) : (is_most ? -1.0f : -2.0f);
    }
    TemporaryHeads file;
    file.add("0.0.linear.weight", DType::f32, {32, 32},
             std::make_shared<const Tensor>(Tensor::zeros(DType::f32, {32, 32})));
    file.add("0.0.linear.bias", DType::f32, {32},
             std::make_shared<const Tensor>(Tensor::of(std::vector<float>(32, 10.0f), {32})));
    file.add("0.1.weight", DType::f32, {n, 32}, std::make_shared<const Tensor>(std::move(rows)));
    file.add("vocab_ids", DType::i32, {n}, std::make_shared<const Tensor>(Tensor::of(ids, {n})));
    FoundHeads heads = found(file);
    const ExportReport report = export_hf(heads, model_.weights(), output(), stream_);
    EXPECT_EQ(report.largest_difference, 0) << "the kept columns are the same";
    EXPECT_GT(report.run_accept_length, 1.0);
    if (above) {
      EXPECT_EQ(report.accept_length, report.run_accept_length);
    } else {
      EXPECT_LT(report.accept_length, report.run_accept_length);
    }
    std::filesystem::remove_all(output());
  }
}

TEST_F(ExportTest, TreeNamesTheExportedHeads) {
  file_.add_heads(model_, 2);
  const FoundHeads heads = found();
  TreeFile tree;
  tree.tree = chain_tree(2);
  tree.made_from = {{"heads_sha256", sha256_of_file(heads.file, ExitCode::checkpoint)}};
  for (const bool is_own : {true, false}) {
    if (!is_own) tree.made_from["heads_sha256"] = "00";
    write_atomically(folder_.path() / kTreeFile, to_json(tree));
    export_hf(heads, model_.weights(), output(), stream_);
    EXPECT_NE(names_other_heads(read_tree(output() / kTreeFile, 2), output() / kExportedHeadsFile), is_own);
    std::filesystem::remove_all(output());
  }
}

TEST_F(ExportTest, LeavesOthersFilesAlone) {
  file_.add_heads(model_, 1);
  std::filesystem::create_directory(output());
  write_atomically(output() / "mine.txt", "mine");
  EXPECT_THROW(export_hf(found(), model_.weights(), output(), stream_), Error);
  EXPECT_EQ(read_text(output() / "mine.txt", ExitCode::data), "mine");
  EXPECT_FALSE(std::filesystem::exists(output().string() + ".partial"));
}

}  // namespace
}  // namespace gorgon
