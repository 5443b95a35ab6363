#include "trainer/label_evaluation.h"

#include <algorithm>
#include <numeric>

#include "kernels/convert.h"
#include "kernels/thread_pool.h"
#include "trainer/evaluation.h"
#include "trainer/heads_file.h"
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

// The trainer's own way: the same ops on the same types.
std::vector<HeadSums> sums_of_trainer(const DecodeInputs& inputs, const Dataset& dataset, int64_t limit,
                                      Progress& progress) {
  const RunConfig& config = inputs.found.config;
  HeadTrainer trainer(head_trainer_options(config, 1, inputs.heads.vocab_ids()), inputs.weights.lm_head,
                      inputs.compute, inputs.stream);
  load_heads(inputs.found.file, trainer.heads());
  const EvaluationOptions options{config.heads.num_heads, config.per_device_eval_batch_size, limit,
                                  config.loss};
  const Evaluation evaluation = evaluate_dataset(trainer, inputs.backbone, dataset, options, inputs.stream,
                                                 [&](int64_t done, int64_t) { progress.update(done, ""); });
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
                                     Progress& progress) {
  const int64_t batch = inputs.found.config.per_device_eval_batch_size;
  std::vector<HeadSums> sums(static_cast<size_t>(inputs.heads.count()));
  for (int64_t first = 0; first < total; first += batch) {
    std::vector<int64_t> which(static_cast<size_t>(std::min(batch, total - first)));
    std::iota(which.begin(), which.end(), first);
    const StateRows rows = forward_state_rows(inputs.backbone, dataset.gather(which), inputs.heads.count(),
                                              batch, inputs.stream);
    for (int k = 0; k < inputs.heads.count(); ++k) {
      for (int64_t begin = 0; begin < rows.rows(); begin += kChunk) {
        add_chunk(inputs, rows, k, begin, std::min(begin + kChunk, rows.rows()),
                  sums[static_cast<size_t>(k)]);
      }
    }
    progress.update(first + std::ssize(which), "");
  }
  return sums;
}

}  // namespace

std::vector<HeadSums> evaluate_labels(const DecodeInputs& inputs, const Dataset& dataset, int64_t limit,
                                      Console& console) {
  const int64_t total = limit < 0 ? dataset.sequences() : std::min(limit, dataset.sequences());
  Progress progress(console, "labels", total);
  const bool as_trained = !inputs.found.is_export && inputs.compute == inputs.found.config.compute();
  return as_trained ? sums_of_trainer(inputs, dataset, total, progress)
                    : sums_of_drafts(inputs, dataset, total, progress);
}

}  // namespace gorgon
