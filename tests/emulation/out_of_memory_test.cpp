#include <algorithm>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/workspace.h"
#include "model/head_pass.h"
#include "optim/optimizer.h"
#include "tests/emulation/device_memory.h"
#include "tests/emulation/moved_model.h"
#include "tests/kernels/on_device.h"
#include "tests/model/tiny_model.h"
#include "trainer/head_trainer.h"
#include "trainer/state_source.h"

// A GPU that is too small: the line names the buffer, its size, what is free, and a key that makes it
// smaller.
namespace gorgon {
namespace {

constexpr int64_t kMebibyte = 1 << 20;

class OutOfMemory : public testing::Test {
 protected:
  OutOfMemory() { emulation::set_device_memory(emulation::host_calls().bytes + 10 * kMebibyte); }
  ~OutOfMemory() override { emulation::set_device_memory(0); }

  template <typename Call>
  static std::string line_of(Call&& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::resource);
      return error.what();
    }
    return "no error";
  }
  static void expect_words(const std::string& line, const std::vector<std::string>& words) {
    for (const std::string& word : words)
      EXPECT_NE(line.find(word), std::string::npos) << word << "\n" << line;
  }
};

TEST_F(OutOfMemory, OfWorkingMemory) {
  const Stream stream(test_device(), 1);
  Workspace workspace(stream);
  workspace.take("queries, keys and values", DType::u8, {4 * kMebibyte});
  const std::string line = line_of([&] { workspace.take("gate and up", DType::bf16, {4, kMebibyte}); });
  expect_words(line, {"cuda:0", "8 MiB for gate and up bf16[4, 1048576]", "6 MiB free", "max_seq_length"});
  // Other work goes on.
  EXPECT_NE(workspace.take("gate and up", DType::bf16, {1, kMebibyte}).data, nullptr);
}

TEST_F(OutOfMemory, OfLogits) {
  const HeadPassShape shape{64, 32, 100000, 1, DType::bf16};
  const std::string line = line_of([&] { HeadPass pass(shape, test_device()); });
  expect_words(line, {"for logits of a chunk bf16[64, ", "medusa_vocab"});
}

TEST_F(OutOfMemory, OfOptimizerStates) {
  const Stream stream(test_device(), 1);
  Tensor param = Tensor::zeros(DType::bf16, {2 * kMebibyte}, stream.device());
  ParamGroup group;
  group.param = param.view();
  group.grad = param.view();
  OptimizerOptions options;
  options.eight_bit = false;
  const std::string line = line_of([&] { Optimizer optimizer(options, 1, {group}, stream); });
  expect_words(line, {"8 MiB for an optimizer state f32[2097152]", "6 MiB free of", "medusa_num_heads"});
}

// Two steps and an evaluation on a device that grows from nothing: wherever memory ends, the line names the
// buffer, its size, what is free, and a key to lower. Nothing is computed.
std::string line_of_a_run(const ModelWeights& weights, const Sequences& sequences) {
  try {
    const Stream stream(test_device(), 1);
    const Backbone backbone(weights, DType::bf16);
    HeadTrainerOptions options;
    options.heads = {2, 1};
    options.lr_multiplier.assign(2, 1.0);
    options.max_steps = 2;
    options.chunk_rows = 64;
    HeadTrainer trainer(options, weights.lm_head, DType::bf16, stream);
    StateRows rows;
    for (int64_t s = 1; s <= 2; ++s) {
      forward_state_rows(backbone, sequences, 2, 1, rows, stream);
      trainer.step(rows, s);
    }
    std::vector<HeadMetrics> metrics;
    trainer.evaluate(forward_state_rows(backbone, sequences, 2, 2, stream), metrics);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::resource);
    return error.what();
  }
  return "";
}

struct DryRun {
  DryRun() { emulation::set_dry(true); }
  ~DryRun() {
    emulation::set_dry(false);
    emulation::set_device_memory(0);
  }
};

TEST(OutOfMemoryAnywhere, NamesBufferSizesAndKey) {
  TinyModel model(5, 1000);
  model.round_to_bf16();
  const ModelWeights weights = moved(model.weights(), test_device());
  Sequences sequences;
  sequences.offsets = {0, 70, 140};
  sequences.first_id = {0, 70};
  sequences.tokens = model.prompt(140);
  sequences.labels = sequences.segments = sequences.tokens;
  const DryRun dry;
  const int64_t before = emulation::host_calls().bytes;
  std::set<std::string> buffers;
  bool done = false;
  int64_t step = 1 << 10;
  for (int64_t limit = 0; !done && limit < 40 * kMebibyte; limit += step) {
    // The largest buffer is cuBLASLt's 32 MiB; all others fit in the rest.
    if (limit > 4 * kMebibyte && limit < 32 * kMebibyte) limit = 32 * kMebibyte;
    step = limit >= 32 * kMebibyte ? 1 << 12 : 1 << 13;
    emulation::set_device_memory(before + limit + 1);
    const std::string line = line_of_a_run(weights, sequences);
    done = line.empty();
    if (done) break;
    const size_t name = line.find(" for "), found = line.find(", found ");
    ASSERT_NE(name, std::string::npos) << line;
    ASSERT_NE(found, std::string::npos) << line;
    EXPECT_NE(line.find("B free of "), std::string::npos) << line;
    EXPECT_EQ(line.find("a buffer "), std::string::npos) << line;
    const bool names_a_key = std::ranges::any_of(
        std::vector<std::string>{"medusa_num_heads", "medusa_vocab", "max_seq_length", "load_in_4bit"},
        [&](const std::string& key) { return line.find(key) != std::string::npos; });
    EXPECT_TRUE(names_a_key) << line;
    buffers.insert(line.substr(name + 5, line.rfind(' ', found - 1) - name - 5));
  }
  EXPECT_TRUE(done) << "no memory was enough";
  EXPECT_GE(buffers.size(), 8u) << "few buffers were met: a test without sense";
}

}  // namespace
}  // namespace gorgon
