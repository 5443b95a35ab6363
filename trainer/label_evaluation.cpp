#include "trainer/label_evaluation.h"

#include <algorithm>

#include "kernels/convert.h"
#include "kernels/thread_pool.h"
#include "trainer/evaluation.h"
#include "trainer/heads_file.h"
#include "trainer/rank_message.h"
#include "trainer/state_source.h"
#include "trainer/training_run.h"

namespace gorgon {
namespace {

constexpr int64_t kChunk = 256;  // rows whose logits are there at a time

// Rows [begin, end) of one head.
void add_chunk(const DecodeInputs& inputs, const StateRows& rows, int k, int64_t begin, int64_t end,
               HeadSums& sums) {
  const int heads = inputs.heads.count();
  const int64_t count = end - begin, width = inputs.heads.outputs();
  const Tensor on_device = rows.row.to(inputs.stream.device());
  const ConstView index = on_device.view().rows(begin, end);
  Tensor states(rows.hidden.type(), {count, rows.hidden.shape()[1]}, inputs.stream.device());
  gather_rows(rows.hidden.view(), index, states.view(), inputs.stream);
  Tensor logits(DType::f32, {count, width}, inputs.stream.device());
  inputs.heads.logits(k, states.view(), logits.view(), inputs.stream);
  const Tensor host = logits.to(Device{}), targets = rows.targets.to(Device{});
  std::vector<SeenToken> seen(static_cast<size_t>(count));
  inputs.stream.threads().parallel_for(count, [&](int64_t i) {
    const int32_t target = targets.as<int32_t>()[(begin + i) * heads + k];
    const std::span row(host.as<float>() + i * width, static_cast<size_t>(width));
    if (target >= 0) seen[static_cast<size_t>(i)] = see_token(inputs.heads, row, target);
  });
  for (const SeenToken& token : seen) add_token(token, sums);
}

void add_packed(const std::string& packed, std::vector<HeadSums>& sums) {
  std::vector<HeadSums> more;
  MessageReader(packed).get(more);
  for (size_t k = 0; k < sums.size(); ++k) sums[k] += more[k];
}

// The trainer's own way: the same ops on the same types.
std::vector<HeadSums> sums_of_trainer(const DecodeInputs& inputs, const Dataset& dataset, int64_t limit,
                                      RankShare& share, Progress& progress) {
  const RunConfig& config = inputs.found.config;
  HeadTrainer trainer(head_trainer_options(config, 1, inputs.heads.vocab_ids()), inputs.weights.lm_head,
                      inputs.compute, inputs.stream);
  load_heads(inputs.found.file, trainer.heads());
  const EvaluationOptions options{config.heads.num_heads, config.per_device_eval_batch_size, limit,
                                  config.loss};
  const Evaluation evaluation = evaluate_dataset(trainer, inputs.backbone, dataset, options, inputs.stream,
                                                 share, [&](int64_t done) { progress.update(done, ""); });
  std::vector<HeadSums> sums;
  for (const HeadMetrics& head : evaluation.heads) {
    HeadSums& sum = sums.emplace_back();
    sum.cross_entropy = head.cross_entropy;
    sum.inside = head.targets;
    sum.count = head.targets + head.outside;
    std::copy_n(head.top, sum.top.size(), sum.top.begin());
  }
  return sums;
}

// Heads in any form and type.
std::vector<HeadSums> sums_of_drafts(const DecodeInputs& inputs, const Dataset& dataset, int64_t total,
                                     RankShare& share, Progress& progress) {
  const int64_t batch = inputs.found.config.per_device_eval_batch_size;
  const auto evaluate_batch = [&](int64_t b) {
    const StateRows rows = forward_state_rows(inputs.backbone, sequences_of_batch(dataset, b, batch, total),
                                              inputs.heads.count(), batch, inputs.stream);
    std::vector<HeadSums> sums(static_cast<size_t>(inputs.heads.count()));
    for (int k = 0; k < inputs.heads.count(); ++k) {
      for (int64_t begin = 0; begin < rows.rows(); begin += kChunk) {
        add_chunk(inputs, rows, k, begin, std::min(begin + kChunk, rows.rows()),
                  sums[static_cast<size_t>(k)]);
      }
    }
    MessageWriter writer;
    writer.add(sums);
    return writer.take();
  };
  std::vector<HeadSums> sums(static_cast<size_t>(inputs.heads.count()));
  for (const std::string& packed :
       share.collect_each((total + batch - 1) / batch, "the evaluation", evaluate_batch,
                          [&](int64_t done) { progress.update(std::min(done * batch, total), ""); })) {
    add_packed(packed, sums);
  }
  return sums;
}

}  // namespace

std::vector<HeadSums> evaluate_labels(const DecodeInputs& inputs, const Dataset& dataset, int64_t limit,
                                      RankShare& share, Console& console) {
  const int64_t total = limit < 0 ? dataset.sequences() : std::min(limit, dataset.sequences());
  Progress progress(console, "labels", total);
  const bool as_trained = !inputs.found.is_export && inputs.compute == inputs.found.config.compute();
  return as_trained ? sums_of_trainer(inputs, dataset, total, share, progress)
                    : sums_of_drafts(inputs, dataset, total, share, progress);
}

}  // namespace gorgon
