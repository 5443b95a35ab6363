#include <filesystem>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/transfer.h"
#include "model/decoder.h"
#include "tests/emulation/device_memory.h"
#include "tests/emulation/moved_model.h"
#include "tests/kernels/on_device.h"
#include "tests/model/temporary_heads.h"
#include "tests/model/tiny_model.h"

// Decoding on the GPU beside the CPU: prefill, trees of several sequences, caches whose accepted nodes move
// up.
namespace gorgon {
namespace {

constexpr int kHeads = 3;

std::map<uint64_t, Answer> answers_on(Device device, const TinyModel& model,
                                      const std::filesystem::path& file,
                                      const std::vector<std::vector<int32_t>>& prompts,
                                      const DecoderOptions& options, int64_t batch) {
  const Stream stream(device, 1);
  const ModelWeights weights = moved(model.weights(), device);
  const Backbone backbone(weights, DType::f32);
  const DraftHeads heads = DraftHeads::load(file, weights.lm_head, DType::f32, stream);
  Decoder decoder(backbone, &heads, options, stream);
  std::map<uint64_t, Answer> found;
  uint64_t next = 0;
  decoder.run(
      [&](DecodeRequest& request) {
        if (next == prompts.size()) return false;
        request = {next, prompts[next]};
        ++next;
        return true;
      },
      batch, [&](const DecodeRequest& request, Answer& answer) { found[request.id] = answer; });
  return found;
}

// In f32 every token is the CPU's: logits differ by some 1e-6 and the nearest two of these prompts' steps by
// far more.
TEST(DecodingOnGpu, GivesTheTokensOfTheCpu) {
  TinyModel model(17);
  TemporaryHeads heads;
  heads.add_heads(model, kHeads);
  const std::filesystem::path file = heads.write();
  std::vector<std::vector<int32_t>> prompts;
  for (const int length : {1, 9, 17}) prompts.push_back(model.prompt(length));
  DecoderOptions plain;
  plain.max_new_tokens = 20;
  DecoderOptions drafted = plain;
  drafted.tree = make_draft_tree({{0}, {1}, {2}, {0, 0}, {0, 1}, {1, 0}, {0, 0, 0}});
  drafted.lookup = true;
  const auto expected = answers_on({}, model, file, prompts, plain, 1);
  const auto on_cpu = answers_on({}, model, file, prompts, drafted, 2);
  const auto on_gpu = answers_on(test_device(), model, file, prompts, drafted, 2);
  size_t accepted = 0;
  for (const auto& [id, answer] : expected) {
    EXPECT_EQ(on_gpu.at(id).tokens, answer.tokens) << "prompt " << id;
    EXPECT_EQ(on_gpu.at(id).emitted, on_cpu.at(id).emitted) << "prompt " << id;
    accepted += answer.tokens.size() - on_gpu.at(id).emitted.size();
  }
  EXPECT_GT(accepted, 3u) << "nothing drafted is right: a test without sense";
}

// An accepted path moves up behind the kept tokens in the stream's own order.
TEST(DecodingOnGpu, CachesKeepNodesWithoutWaiting) {
  const TinyModel model(3);
  const Stream stream(test_device(), 1);
  KvCache cache(model.weights().config, DType::f32, 8, test_device());
  for (int64_t l = 0; l < 2; ++l) {
    for (View rows : {cache.keys(l, 8), cache.values(l, 8)}) {
      std::vector<float> numbers(static_cast<size_t>(rows.elements()));
      for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i / 16);
      upload(numbers, rows, stream);
    }
  }
  cache.append(2);
  const emulation::HostCalls before = emulation::host_calls();
  cache.keep(std::vector<int32_t>{0, 2, 5}, stream);
  EXPECT_EQ(emulation::host_calls().synchronisations, before.synchronisations);
  EXPECT_EQ(emulation::host_calls().waits, before.waits);
  const View values = cache.values(1, 5);
  std::vector<float> kept(static_cast<size_t>(values.elements()));
  copy_bytes({}, kept.data(), test_device(), values.data, bytes_of(DType::f32, values.elements()));
  const int row_of[] = {0, 1, 2, 4, 7};
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i], static_cast<float>(row_of[i / 16])) << i;
  }
}

}  // namespace
}  // namespace gorgon
