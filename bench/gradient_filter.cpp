// What vocab_gradient_filter does to 1,024 rows of real heads: tokens that stay, error of the gradients, time
// of the backward pass. Prints one JSON line per threshold.
//
//   gorgon_gradient_filter MODEL.gguf ANSWERS.jsonl [medusa_heads.safetensors]     (without heads: as they
//   start)
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>

#include <nlohmann/json.hpp>

#include "kernels/convert.h"
#include "model/backbone.h"
#include "model/head_pass.h"
#include "trainer/head_chunks.h"
#include "trainer/heads_file.h"
#include "trainer/state_source.h"

namespace gorgon {
namespace {

constexpr int64_t kRows = 1024;

// The first rows {input_ids, labels} of a file with at least kRows supervised tokens.
Sequences read_sequences(const std::string& path) {
  Sequences s;
  s.offsets.push_back(0);
  std::ifstream file(path);
  int64_t rows = 0;
  for (std::string line; rows < kRows + 64 && std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    const auto tokens = json.at("input_ids").get<std::vector<int32_t>>();
    const auto labels = json.at("labels").get<std::vector<int32_t>>();
    s.first_id.push_back(s.offsets.back());
    s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
    s.labels.insert(s.labels.end(), labels.begin(), labels.end());
    s.offsets.push_back(std::ssize(s.tokens));
    rows += std::count_if(labels.begin(), labels.end(), [](int32_t label) { return label >= 0; });
  }
  return s;
}

struct Gradients {
  std::vector<Tensor> kept;
  HeadGradients views;

  explicit Gradients(const MedusaHead& head) {
    kept.emplace_back(DType::bf16, head.blocks[0].weight.shape());
    kept.emplace_back(DType::f32, head.blocks[0].bias.shape());
    kept.emplace_back(DType::bf16, head.linear.shape());
    views.weight = {kept[0].view()};
    views.bias = {kept[1].view()};
    views.linear = kept[2].view();
  }
};

double relative_error(const Tensor& found, const Tensor& exact, const Stream& stream) {
  Tensor a(DType::f32, found.shape()), b(DType::f32, exact.shape());
  convert(found.view(), a.view(), stream);
  convert(exact.view(), b.view(), stream);
  double error = 0, norm = 0;
  for (int64_t i = 0; i < a.elements(); ++i) {
    error += std::pow(static_cast<double>(a.as<float>()[i]) - static_cast<double>(b.as<float>()[i]), 2);
    norm += std::pow(static_cast<double>(b.as<float>()[i]), 2);
  }
  return std::sqrt(error / norm);
}

// Milliseconds of the fastest of some passes.
double measure(HeadPass& pass, const MedusaHead& head, const StateRows& rows, const ChunkOnDevice& chunk,
               const Gradients& to, const Stream& stream) {
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 4; ++round) {
    pass.forward(head, rows.hidden.view(), chunk.row(), chunk.label(), stream);
    const auto begin = std::chrono::steady_clock::now();
    pass.backward(head, chunk.label(), chunk.scale(), to.views, Write::overwrite, stream);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

int run(int argc, char** argv) {
  const Stream stream;
  const ModelWeights weights = load_model(argv[1], DType::bf16, stream);
  const Backbone backbone(weights, DType::bf16);
  const StateRows rows = forward_state_rows(backbone, read_sequences(argv[2]), 1, 8, stream);
  MedusaHeads heads = MedusaHeads::initialise({1, 1}, weights.lm_head, {}, DType::bf16, 1, stream);
  if (argc > 3) load_heads(argv[3], heads);
  const MedusaHead& head = heads.heads[0];
  ChunkOnDevice chunk(kRows, {});
  chunk.set(chunks_of(rows_of_heads(rows, heads)[0], kRows, 1.0f / kRows).front(), stream);
  HeadPassShape shape{kRows, heads.hidden(), heads.outputs(), 1, DType::bf16};
  Gradients exact(head), found(head);
  HeadPass plain(shape, {});
  const double plain_ms = measure(plain, head, rows, chunk, exact, stream);
  for (const float threshold : {1e-4f, 2.44140625e-4f, 1e-3f, 1e-2f}) {
    shape.gradient_filter = threshold;
    HeadPass filtered(shape, {});
    const double ms = measure(filtered, head, rows, chunk, found, stream);
    const nlohmann::ordered_json line = {
        {"threshold", threshold},
        {"tokens_kept", filtered.kept_tokens()},
        {"error_of_linear", relative_error(found.kept[2], exact.kept[2], stream)},
        {"error_of_resblock", relative_error(found.kept[0], exact.kept[0], stream)},
        {"backward_ms", ms},
        {"backward_ms_without", plain_ms}};
    std::puts(line.dump().c_str());
  }
  return 0;
}

}  // namespace
}  // namespace gorgon

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: gorgon_gradient_filter MODEL ANSWERS.jsonl [medusa_heads.safetensors]\n", stderr);
    return 2;
  }
  return gorgon::run(argc, argv);
}
