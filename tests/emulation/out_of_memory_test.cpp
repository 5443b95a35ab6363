#include <string>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/workspace.h"
#include "model/head_pass.h"
#include "optim/optimizer.h"
#include "tests/emulation/device_memory.h"
#include "tests/kernels/on_device.h"

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

}  // namespace
}  // namespace gorgon
