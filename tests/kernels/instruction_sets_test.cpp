// Every instruction set that this chip has, forced one after the other: each must give what the best one
// gives, to the roundings of other orders of summing. Errors are normalised: |a - b| over |b|, both L2 norms.
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "kernels/attention.h"
#include "kernels/block_linear.h"
#include "kernels/convert.h"
#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "kernels/gemm.h"
#include "kernels/instruction_set.h"
#include "kernels/resblock.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary_embedding.h"
#include "kernels/swiglu.h"
#include "kernels/vocabulary_cross_entropy.h"
#include "tests/kernels/random_matrix.h"

namespace gorgon {
namespace {

constexpr int64_t kRows = 37, kWidth = 200;  // neither is whole vectors

std::vector<float> values(const Tensor& tensor) {
  std::vector<float> all(static_cast<size_t>(tensor.elements()));
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = tensor.type() == DType::f32   ? tensor.as<float>()[i]
             : tensor.type() == DType::i32 ? static_cast<float>(tensor.as<int32_t>()[i])
                                           : static_cast<float>(tensor.as<bf16>()[i]);
  }
  return all;
}

void append(const Tensor& tensor, std::vector<float>& to) {
  const std::vector<float> more = values(tensor);
  to.insert(to.end(), more.begin(), more.end());
}

// An op and its outcome; `bound` 0 = the same bits on every instruction set.
struct Kernel {
  std::string name;
  double bound;
  std::function<std::vector<float>(const Stream&)> run;
};

void PrintTo(const Kernel& kernel, std::ostream* out) {
  *out << kernel.name;
}

// f32 sums of a few hundred terms in another order: some 2^-24 each. bf16: one in a few hundred results lies
// so near a tie that such a difference rounds it to its neighbour, 2^-8 away: 2^-8 / sqrt(200) = 3e-4.
constexpr double kF32 = 1e-6, kBf16 = 5e-4;

std::vector<float> run_gemm(DType type, const Stream& stream) {
  const Tensor a = random_matrix(DType::f32, kRows, kWidth, 1), b = random_matrix(DType::f32, 77, kWidth, 2);
  Tensor c(type, {kRows, 77});
  gemm(a.view(), b.view(), c.view(), {false, true}, stream);
  return values(c);
}

std::vector<float> run_norm(DType type, const Stream& stream) {
  const Tensor x = random_matrix(DType::f32, kRows, kWidth, 1), w = random_matrix(DType::f32, 1, kWidth, 2);
  Tensor y(type, {kRows, kWidth});
  rms_norm(x.view(), w.view(), 1e-5f, y.view(), stream);
  return values(y);
}

std::vector<float> run_rotary(DType type, const Stream& stream) {
  Tensor x = random_matrix(type, kRows, 2 * 48, 1);
  std::vector<int32_t> positions(kRows);
  for (int i = 0; i < kRows; ++i) positions[static_cast<size_t>(i)] = i;
  const Tensor at = Tensor::of(positions, {kRows});
  rotary_embedding(x.view(), 48, at.view(), rotary_table(48, 1e4f, {}, kRows, {}), stream);
  return values(x);
}

std::vector<float> run_swiglu(DType type, const Stream& stream) {
  const Tensor gate_up = random_matrix(type, kRows, 2 * kWidth, 1);
  Tensor y(type, {kRows, kWidth});
  swiglu(gate_up.view(), y.view(), stream);
  return values(y);
}

std::vector<float> run_attention(DType type, const Stream& stream) {
  const Tensor q = random_matrix(type, kRows, 4 * 24, 1);
  const Tensor k = random_matrix(type, kRows, 2 * 24, 2), v = random_matrix(type, kRows, 2 * 24, 3);
  Tensor out(type, {kRows, 4 * 24});
  const std::vector<AttentionSequence> sequences = {{0, kRows, k.view(), v.view(), {}}};
  attention(q.view(), sequences, {4, 2, 24, 0}, out.view(), stream);
  return values(out);
}

std::vector<float> run_resblock(DType type, const Stream& stream) {
  Tensor u = random_matrix(DType::f32, kRows, kWidth, 1);
  const Tensor bias = random_matrix(type, 1, kWidth, 2), x = random_matrix(type, kRows, kWidth, 3);
  const Tensor dy = random_matrix(DType::f32, kRows, kWidth, 4);
  Tensor y(type, {kRows, kWidth}), du(type, {kRows, kWidth}), dbias(DType::f32, {kWidth});
  resblock_forward(u.view(), bias.view(), x.view(), y.view(), stream);
  resblock_backward(dy.view(), u.view(), du.view(), dbias.view(), Write::overwrite, stream);
  std::vector<float> all = values(y);
  append(du, all);
  append(dbias, all);
  return all;
}

// Statistics, hits, and the gradient scaled to the size of the rest.
std::vector<float> run_cross_entropy(DType type, const Stream& stream) {
  constexpr int64_t kVocabulary = 5003;  // more than a tile
  const Tensor x = random_matrix(type, kRows, 8, 1), weight = random_matrix(type, kVocabulary, 8, 2);
  std::vector<int32_t> label(kRows);
  for (int i = 0; i < kRows; ++i) label[static_cast<size_t>(i)] = i * 131;
  const Tensor labels = Tensor::of(label, {kRows});
  const Tensor scale = Tensor::of(std::vector<float>(kRows, 1.0f), {kRows});
  Tensor logits(type, {kRows, kVocabulary}), hits(DType::i32, {kRows});
  Tensor max(DType::f32, {kRows}), sum(DType::f32, {kRows}), at_label(DType::f32, {kRows});
  const CrossEntropyStatistics statistics{max.view(), sum.view(), at_label.view()};
  cross_entropy_statistics(x.view(), weight.view(), labels.view(), 0, logits.view(), statistics, stream);
  cross_entropy_gradient(logits.view(), labels.view(), 0, statistics, scale.view(), hits.view(), stream);
  std::vector<float> all = values(logits);
  append(max, all);
  for (const float s : values(sum)) all.push_back(std::log(s));
  append(at_label, all);
  return all;
}

std::vector<float> run_convert(const Stream& stream) {
  const Tensor from = random_matrix(DType::f32, kRows, kWidth, 1);
  Tensor narrow(DType::bf16, {kRows, kWidth}), wide(DType::f32, {kRows, kWidth});
  convert(from.view(), narrow.view(), stream);
  convert(narrow.view(), wide.view(), stream);
  return values(wide);
}

Tensor blocks_of(DType type, int64_t elements) {
  Tensor blocks(DType::u8, {bytes_of(type, elements)});
  for (int64_t i = 0; i < blocks.bytes(); ++i) {
    blocks.as<uint8_t>()[i] = static_cast<uint8_t>(i * 37 % 59);  // scales far from f16's infinity
  }
  return blocks;
}

std::vector<float> run_dequantise(DType type, const Stream& stream) {
  const Tensor blocks = blocks_of(type, 3 * 512);
  Tensor out(DType::f32, {3, 512});
  dequantise(ConstView(BasicView<const std::byte>{blocks.data(), type, {3, 512}, {}, 0}), out.view(), stream);
  return values(out);
}

std::vector<float> run_block_linear(DType type, const Stream& stream) {
  const WeightMatrix weight{type, 33, 512, std::make_shared<const Tensor>(blocks_of(type, 33 * 512))};
  const Tensor x = random_matrix(DType::f32, 5, 512, 1);
  Tensor y(DType::f32, {5, 33});
  block_linear(x.view(), weight, y.view(), Write::overwrite, stream);
  return values(y);
}

std::vector<Kernel> kernels() {
  std::vector<Kernel> all = {{"convert", 0, run_convert}};
  for (const DType type : {DType::f32, DType::bf16}) {
    const double bound = type == DType::f32 ? kF32 : kBf16;
    const auto add = [&](const std::string& what, const auto& run) {
      all.push_back({what + "_" + std::string(name(type)), bound,
                     [run, type](const Stream& s) { return run(type, s); }});
    };
    add("gemm", run_gemm);
    add("rms_norm", run_norm);
    add("rotary_embedding", run_rotary);
    add("swiglu", run_swiglu);
    add("attention", run_attention);
    add("resblock", run_resblock);
    add("cross_entropy", run_cross_entropy);
  }
  for (const DType type : {DType::q4_0, DType::q4_1, DType::q8_0, DType::q4_k, DType::q6_k}) {
    const std::string type_name(name(type));
    all.push_back(
        {"dequantise_" + type_name, 0, [type](const Stream& s) { return run_dequantise(type, s); }});
    all.push_back(
        {"block_linear_" + type_name, kF32, [type](const Stream& s) { return run_block_linear(type, s); }});
  }
  return all;
}

class InstructionSets : public ::testing::TestWithParam<Kernel> {
 protected:
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_P(InstructionSets, AgreeWithTheBest) {
  const Kernel& kernel = GetParam();
  const Stream stream({}, 2);
  const std::vector<float> best = kernel.run(stream);
  double norm = 0;
  for (const float v : best) norm += static_cast<double>(v) * v;
  ASSERT_GT(norm, 0);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    const std::vector<float> own = kernel.run(stream);
    double error = 0;
    for (size_t i = 0; i < best.size(); ++i) error += std::pow(static_cast<double>(own[i]) - best[i], 2);
    EXPECT_LE(std::sqrt(error), kernel.bound * std::sqrt(norm)) << hwy::TargetName(target);
  }
}

// A set of another architecture is none of this chip's; nothing changes by asking for it.
TEST(InstructionSetNames, OthersAreRefused) {
  const std::string before = instruction_set_text();
  const bool is_arm = (hwy::SupportedTargets() & HWY_NEON) != 0;
  for (const std::string& name : {std::string("mmx"), std::string(), std::string(is_arm ? "avx2" : "neon")}) {
    try {
      limit_instruction_set(name);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::config);
      EXPECT_NE(std::string(error.what())
                    .find("GORGON_CPU_ISA: expected an instruction set of this chip (" +
                          before.substr(0, before.find_first_of(",;"))),
                std::string::npos)
          << error.what();
    }
  }
  EXPECT_EQ(instruction_set_text(), before);
}

INSTANTIATE_TEST_SUITE_P(Kernels, InstructionSets, ::testing::ValuesIn(kernels()),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace gorgon
