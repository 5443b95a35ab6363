// Heads of every form (own, shared, lowrank; all tokens or some): trained, saved, loaded, merged.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "model/draft_heads.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/weights_of_run.h"
#include "trainer/head_trainer.h"
#include "trainer/heads_file.h"
#include "trainer/reports.h"

namespace gorgon {
namespace {

using Json = nlohmann::json;

// What tests/oracle/head_forms.py wrote.
class Golden {
 public:
  Golden()
      : file_(GORGON_TEST_DATA "/head_forms/tensors.safetensors", ExitCode::model),
        found_(parse_safetensors(file_.bytes(), "tensors.safetensors")),
        json_(Json::parse(std::ifstream(GORGON_TEST_DATA "/head_forms/steps.json"))) {}

  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const auto& bytes = found_.tensors.at(name).bytes;
    std::vector<T> copy(bytes.size() / sizeof(T));
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    return copy;
  }
  int64_t size(const std::string& name, size_t dimension) const {
    return found_.tensors.at(name).shape[dimension];
  }
  const Json& run(const std::string& name) const { return json_["runs"][name]; }
  const Json& options() const { return json_["options"]; }

  int64_t hidden_size() const { return size("lm_head", 1); }
  int64_t vocabulary() const { return size("lm_head", 0); }
  int64_t steps() const { return size("hidden", 0); }
  WeightMatrix lm_head(DType type = DType::f32) const {
    const Shape shape = {vocabulary(), hidden_size()};
    Tensor wide = Tensor::of(values<float>("lm_head"), shape), narrow(type, shape);
    convert(wide.view(), narrow.view(), Stream({}, 1));
    return {type, vocabulary(), hidden_size(), std::make_shared<Tensor>(std::move(narrow))};
  }
  StateRows rows(int64_t step, DType type = DType::f32) const;

 private:
  MappedFile file_;
  Safetensors found_;
  Json json_;
};

StateRows Golden::rows(int64_t step, DType type) const {
  const int64_t count = size("hidden", 1), heads = size("targets", 2), h = hidden_size();
  const auto hidden = values<float>("hidden");
  const auto targets = values<int32_t>("targets");
  const auto slice = [step](const auto& all, int64_t n) {
    return std::decay_t<decltype(all)>(all.begin() + step * n, all.begin() + (step + 1) * n);
  };
  StateRows rows;
  const Tensor wide = Tensor::of(slice(hidden, count * h), {count, h});
  rows.hidden = Tensor(type, {count, h});
  convert(wide.view(), rows.hidden.view(), Stream({}, 1));
  std::vector<int32_t> row(static_cast<size_t>(count));
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<int32_t>(i);
  rows.row = Tensor::of(row, {count});
  rows.targets = Tensor::of(slice(targets, count * heads), {count, heads});
  return rows;
}

struct Form {
  HeadLinear linear;
  bool pruned;
  int layers;
};

std::string name_of(const Form& form) {
  const char* linear = form.linear == HeadLinear::own      ? "own"
                       : form.linear == HeadLinear::shared ? "shared"
                                                           : "lowrank";
  return std::string(linear) + (form.pruned ? "-pruned-" : "-full-") + std::to_string(form.layers);
}

HeadTrainerOptions options_of(const Golden& golden, const Form& form) {
  const Json& o = golden.options();
  HeadTrainerOptions options;
  options.heads = {o["heads"], form.layers, form.linear, o["rank"], form.pruned ? 61 : kFullVocabulary};
  options.loss = {o["coefficient"], o["decay"], MedusaScheduler::constant};
  options.optimizer.eight_bit = false;
  options.optimizer.max_grad_norm = o["max_norm"];
  options.lr.learning_rate = o["learning_rate"];
  options.lr_multiplier.assign(static_cast<size_t>(options.heads.num_heads), 1.0);
  options.max_steps = golden.steps();
  if (form.pruned) options.vocab_ids = golden.values<int32_t>("vocab_ids");
  return options;
}

class HeadForms : public testing::TestWithParam<Form> {
 protected:
  Golden golden_;
  Stream stream_{{}, 2};
};

// Two PyTorch runs whose batches are cut otherwise differ by 1e-7 relative; the bounds are those of the
// reference runs on the real model (5e-6 for losses, 5e-5 for the norm of gradients). Adam's first steps
// (g / |g|) enlarge the difference of a weight whose gradient is about zero: 1e-3 of how far all have moved.
TEST_P(HeadForms, TrainAsPyTorchDoes) {
  const Form& form = GetParam();
  HeadTrainer trainer(options_of(golden_, form), golden_.lm_head(), DType::f32, stream_);
  if (form.linear == HeadLinear::lowrank) {  // PyTorch's draw
    const auto a = golden_.values<float>("A");
    const size_t each = a.size() / trainer.heads().heads.size();
    for (size_t k = 0; k < trainer.heads().heads.size(); ++k) {
      std::memcpy(trainer.heads().heads[k].a.data(), a.data() + k * each, each * sizeof(float));
    }
  }
  const std::vector<float> start = all_weights(trainer);
  const Json& run = golden_.run(name_of(form));
  for (int64_t s = 1; s <= golden_.steps(); ++s) {
    const Json& expected = run[static_cast<size_t>(s - 1)];
    const StepResult result = trainer.step(golden_.rows(s - 1), s);
    const double loss = expected["loss"], norm = expected["grad_norm"];
    EXPECT_NEAR(result.loss, loss, 5e-6 * loss) << "step " << s;
    EXPECT_NEAR(result.grad_norm, norm, 5e-5 * norm) << "step " << s;
    for (size_t k = 0; k < result.heads.size(); ++k) {
      const double mean = expected["heads"][k];
      EXPECT_NEAR(mean_cross_entropy(result.heads[k]), mean, 5e-6 * mean) << "step " << s;
      EXPECT_EQ(result.heads[k].top[0], expected["top1"][k].get<int64_t>());
      EXPECT_EQ(result.heads[k].outside, expected["outside"][k].get<int64_t>());
    }
  }
  std::vector<float> expected;
  for (const NamedParameter& p : parameters(trainer.heads())) {
    const auto part = golden_.values<float>(name_of(form) + "/" + p.name);
    ASSERT_EQ(std::ssize(part), p.view.elements()) << p.name;
    expected.insert(expected.end(), part.begin(), part.end());
  }
  EXPECT_LT(distance(all_weights(trainer), expected, start), 1e-3);
}

// As for own heads (head_trainer_test.cpp): f32 sums in another order; bf16 gradients rounded to a neighbour.
TEST_P(HeadForms, ChunksAgreeToRoundingAndThreadsToTheBit) {
  for (const DType type : {DType::f32, DType::bf16}) {
    std::vector<std::vector<float>> weights;
    std::vector<float> start;
    for (const auto& [chunk_rows, threads] : {std::pair{1024, 1}, {1024, 3}, {64, 2}}) {
      const Stream stream({}, threads);
      HeadTrainerOptions options = options_of(golden_, GetParam());
      options.chunk_rows = chunk_rows;
      HeadTrainer trainer(options, golden_.lm_head(type), type, stream);
      if (start.empty()) start = all_weights(trainer);
      for (int64_t s = 1; s <= 3; ++s) trainer.step(golden_.rows(s - 1, type), s);
      weights.push_back(all_weights(trainer));
    }
    EXPECT_EQ(weights[0], weights[1]) << "threads";
    EXPECT_LT(distance(weights[0], weights[2], start), type == DType::f32 ? 1e-4 : 3e-2);
  }
}

TEST_P(HeadForms, GoOnFromFilesToTheSameBits) {
  const TemporaryDirectory folder;
  HeadTrainerOptions options = options_of(golden_, GetParam());
  options.optimizer.eight_bit = true;
  HeadTrainer whole(options, golden_.lm_head(DType::bf16), DType::bf16, stream_);
  for (int64_t s = 1; s <= 3; ++s) whole.step(golden_.rows(s - 1, DType::bf16), s);
  save_heads(folder.path() / kHeadsFile, whole.heads(), {});
  save_optimizer(folder.path() / kOptimizerFile, whole.optimizer_state());
  options.seed = 42;
  HeadTrainer resumed(options, golden_.lm_head(DType::bf16), DType::bf16, stream_);
  load_heads(folder.path() / kHeadsFile, resumed.heads());
  load_optimizer(folder.path() / kOptimizerFile, resumed.optimizer_state());
  resumed.set_adam_steps(whole.adam_steps());
  for (int64_t s = 4; s <= golden_.steps(); ++s) {
    const StateRows rows = golden_.rows(s - 1, DType::bf16);
    EXPECT_EQ(whole.step(rows, s).loss, resumed.step(rows, s).loss);
  }
  EXPECT_EQ(all_weights(whole), all_weights(resumed));
}

// The decoder reads what was trained, and heads merged and expanded for the engines say the same: products in
// another order, 1e-6 of the largest logit.
TEST_P(HeadForms, MergedAndExpandedSayTheSame) {
  const TemporaryDirectory folder;
  HeadTrainer trainer(options_of(golden_, GetParam()), golden_.lm_head(), DType::f32, stream_);
  for (int64_t s = 1; s <= golden_.steps(); ++s) trainer.step(golden_.rows(s - 1), s);
  save_heads(folder.path() / kHeadsFile, trainer.heads(), {});
  const DraftHeads drafts =
      DraftHeads::load(folder.path() / kHeadsFile, golden_.lm_head(), DType::f32, stream_);
  std::vector<DraftHeads::FullTensor> full = drafts.full_tensors(golden_.vocabulary());
  std::vector<SafetensorsOutput> outputs;
  for (const auto& [name, values] : full) {
    std::vector<int64_t> shape{values.shape()[0]};
    if (values.shape().rank() == 2) shape.push_back(values.shape()[1]);
    outputs.push_back({name, values.type(), shape, [&values = values] {
                         return std::span(values.data(), static_cast<size_t>(values.bytes()));
                       }});
  }
  write_safetensors(folder.path() / "full.safetensors", outputs, {});
  const DraftHeads merged =
      DraftHeads::load(folder.path() / "full.safetensors", golden_.lm_head(), DType::f32, stream_);
  ASSERT_EQ(merged.outputs(), golden_.vocabulary());
  ASSERT_EQ(merged.count(), drafts.count());
  const Tensor states = golden_.rows(0).hidden.to({});
  for (int k = 0; k < drafts.count(); ++k) {
    Tensor a(DType::f32, {states.shape()[0], drafts.outputs()});
    Tensor b(DType::f32, {states.shape()[0], merged.outputs()});
    drafts.logits(k, states.view(), a.view(), stream_);
    merged.logits(k, states.view(), b.view(), stream_);
    float largest = 0;
    for (int64_t i = 0; i < a.elements(); ++i) largest = std::max(largest, std::abs(a.as<float>()[i]));
    for (int64_t row = 0; row < states.shape()[0]; ++row) {
      for (int32_t token = 0; token < golden_.vocabulary(); ++token) {
        const int32_t column = drafts.column(token);
        const float expected = column < 0 ? 0.0f : a.as<float>()[row * drafts.outputs() + column];
        ASSERT_NEAR(b.as<float>()[row * merged.outputs() + token], expected, 1e-6f * largest);
      }
    }
  }
}

std::vector<Form> all_forms() {
  std::vector<Form> forms;
  for (const HeadLinear linear : {HeadLinear::own, HeadLinear::shared, HeadLinear::lowrank}) {
    for (const bool pruned : {false, true}) {
      for (const int layers : {1, 2}) forms.push_back({linear, pruned, layers});
    }
  }
  return forms;
}

INSTANTIATE_TEST_SUITE_P(All, HeadForms, testing::ValuesIn(all_forms()), [](const auto& form) {
  std::string name = name_of(form.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(HeadFormsMetrics, TargetsOutsideAreMissesWithoutALoss) {
  const Golden golden;
  const Stream stream({}, 2);
  HeadTrainer trainer(options_of(golden, {HeadLinear::shared, true, 1}), golden.lm_head(), DType::f32,
                      stream);
  std::vector<HeadMetrics> sums;
  const StateRows rows = golden.rows(0);
  trainer.evaluate(rows, sums);
  const StepResult step = trainer.step(rows, 1);
  for (size_t k = 0; k < sums.size(); ++k) {
    EXPECT_GT(sums[k].outside, 0);
    EXPECT_EQ(sums[k].outside, step.heads[k].outside);
    EXPECT_EQ(sums[k].targets, step.heads[k].targets);
    int64_t all = 0;
    for (int64_t i = 0; i < rows.rows(); ++i) {
      all += rows.targets.as<int32_t>()[i * 2 + static_cast<int64_t>(k)] >= 0 ? 1 : 0;
    }
    EXPECT_EQ(sums[k].targets + sums[k].outside, all);
    EXPECT_DOUBLE_EQ(top_accuracy(sums[k], 5),
                     static_cast<double>(sums[k].top[4]) / static_cast<double>(all));
  }
  EXPECT_DOUBLE_EQ(share_outside(sums), static_cast<double>(sums[0].outside + sums[1].outside) /
                                            static_cast<double>(sums[0].outside + sums[1].outside +
                                                                sums[0].targets + sums[1].targets));
}

TEST(HeadFormsFile, HeadsOfAnotherFormAreRefusedInOneLine) {
  const Golden golden;
  const Stream stream({}, 1);
  const TemporaryDirectory folder;
  const auto heads_of = [&](const Form& form, int64_t rank = 4) {
    HeadTrainerOptions options = options_of(golden, form);
    options.heads.rank = rank;
    return MedusaHeads::initialise(options.heads, golden.lm_head(), options.vocab_ids, DType::f32, 1, stream);
  };
  MedusaHeads saved = heads_of({HeadLinear::lowrank, true, 1});
  save_heads(folder.path() / "heads", saved, {});
  const auto refused = [&](MedusaHeads heads, const std::vector<std::string>& parts) {
    const std::vector<float> before = values_of(parameters(heads)[0].view);
    expect_error([&] { load_heads(folder.path() / "heads", heads); }, ExitCode::checkpoint, parts);
    EXPECT_EQ(values_of(parameters(heads)[0].view), before);
  };
  refused(heads_of({HeadLinear::own, true, 1}), {"medusa_head_linear", "expected own", "found lowrank"});
  refused(heads_of({HeadLinear::shared, true, 1}), {"medusa_head_linear", "expected shared"});
  refused(heads_of({HeadLinear::lowrank, true, 1}, 5), {"medusa_head_rank", "expected 5", "found 4"});
  refused(heads_of({HeadLinear::lowrank, false, 1}), {"medusa_vocab", "expected full", "found 61"});
  refused(heads_of({HeadLinear::lowrank, true, 2}), {"0.1.linear.weight", "no such tensor"});
  MedusaHeads others = heads_of({HeadLinear::lowrank, true, 1});
  const auto& ids = others.vocab_ids;
  const auto gap = std::adjacent_find(ids.begin(), ids.end(), [](int32_t a, int32_t b) { return b > a + 1; });
  ++others.vocab_ids[static_cast<size_t>(gap - ids.begin())];
  refused(std::move(others), {"vocab_ids", "other data"});
  MedusaHeads same = heads_of({HeadLinear::lowrank, true, 1});
  load_heads(folder.path() / "heads", same);
}

TEST(HeadFormsStart, IsTheLmHeadAndOneDrawOfA) {
  const Golden golden;
  const Stream stream({}, 1);
  HeadTrainerOptions options = options_of(golden, {HeadLinear::lowrank, true, 1});
  options.heads.rank = 16;
  const auto start = [&](uint64_t seed) {
    return MedusaHeads::initialise(options.heads, golden.lm_head(), options.vocab_ids, DType::f32, seed,
                                   stream);
  };
  MedusaHeads heads = start(1), again = start(1), other = start(2);
  const auto a = values_of(heads.heads[0].a.view());
  EXPECT_EQ(a, values_of(again.heads[0].a.view()));
  EXPECT_NE(a, values_of(other.heads[0].a.view()));
  EXPECT_NE(a, values_of(heads.heads[1].a.view()));
  const double bound = 1 / std::sqrt(static_cast<double>(golden.hidden_size()));
  double mean = 0, square = 0;
  for (const float x : a) {
    EXPECT_LE(std::abs(static_cast<double>(x)), bound);
    mean += static_cast<double>(x) / static_cast<double>(a.size());
    square += static_cast<double>(x) * static_cast<double>(x) / static_cast<double>(a.size());
  }
  // 512 draws: the mean's deviation is bound / sqrt(3 * 512), that of the mean square 4 % of bound^2 / 3;
  // both bounds are four of them.
  EXPECT_NEAR(mean, 0, 0.11 * bound);
  EXPECT_NEAR(square, bound * bound / 3, 0.16 * bound * bound / 3);
  EXPECT_THAT(values_of(heads.heads[1].b.view()), testing::Each(0.0f));
  const auto w0 = golden.values<float>("lm_head");
  for (size_t i = 0; i < options.vocab_ids.size(); ++i) {
    const auto row = static_cast<size_t>(options.vocab_ids[i]) * static_cast<size_t>(golden.hidden_size());
    ASSERT_EQ(
        std::memcmp(heads.heads[0].frozen.view().as<float>() + i * static_cast<size_t>(golden.hidden_size()),
                    w0.data() + row, static_cast<size_t>(golden.hidden_size()) * sizeof(float)),
        0);
  }
  // The whole vocabulary in the same type is not copied.
  const WeightMatrix lm_head = golden.lm_head();
  options.heads.linear = HeadLinear::shared;
  EXPECT_EQ(
      MedusaHeads::initialise(options.heads, lm_head, {}, DType::f32, 1, stream).heads[0].frozen.storage,
      lm_head.storage);
}

}  // namespace
}  // namespace gorgon
