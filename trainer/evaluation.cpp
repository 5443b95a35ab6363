#include "trainer/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "trainer/console.h"
#include "trainer/rank_message.h"
#include "trainer/reports.h"
#include "trainer/state_source.h"

namespace gorgon {

double combined_loss(const LossOptions& loss, const std::vector<HeadMetrics>& heads) {
  double sum = 0;
  double decay = 1;
  for (const HeadMetrics& head : heads) {
    decay *= loss.decay_coefficient;
    if (head.targets > 0) sum += loss.heads_coefficient * decay * mean_cross_entropy(head);
  }
  return sum;
}

Sequences sequences_of_batch(const Dataset& dataset, int64_t b, int64_t batch, int64_t total) {
  std::vector<int64_t> which(static_cast<size_t>(std::min(batch, total - b * batch)));
  std::iota(which.begin(), which.end(), b * batch);
  return dataset.gather(which);
}

namespace {

// All ranks throw, or none.
void stop_together(RankShare& share) {
  std::vector<int64_t> wanted{share.stop_wanted() ? 1 : 0};
  all_reduce(share.ranks().host(), wanted, ReduceOp::max, "stop requests");
  if (wanted[0] != 0) throw Stopped();
}

Evaluation evaluate_divided(HeadTrainer& trainer, const Backbone& backbone, const Dataset& dataset,
                            const EvaluationOptions& options, int64_t total, const Stream& stream,
                            RankShare& share, const std::function<void(int64_t)>& progress) {
  Evaluation evaluation;
  evaluation.heads.resize(static_cast<size_t>(options.num_heads));
  StateRows rows;
  for (int64_t b = 0; b * options.batch < total; ++b) {
    stop_together(share);
    const Sequences sequences = sequences_of_batch(dataset, b, options.batch, total);
    gather_state_rows(backbone, sequences, options.num_heads, options.batch, *trainer.ranks().device, rows,
                      stream);
    if (rows.rows() > 0) trainer.evaluate(rows, evaluation.heads);
    evaluation.positions += rows.rows();
    if (progress) progress(std::min((b + 1) * options.batch, total));
  }
  evaluation.loss = combined_loss(options.loss, evaluation.heads);
  return evaluation;
}

}  // namespace

Evaluation evaluate_dataset(HeadTrainer& trainer, const Backbone& backbone, const Dataset& dataset,
                            const EvaluationOptions& options, const Stream& stream, RankShare& share,
                            const std::function<void(int64_t)>& progress) {
  const int64_t total =
      options.limit < 0 ? dataset.sequences() : std::min<int64_t>(options.limit, dataset.sequences());
  if (trainer.ranks().is_several() && trainer.ranks().divided) {
    return evaluate_divided(trainer, backbone, dataset, options, total, stream, share, progress);
  }
  Evaluation evaluation;
  evaluation.heads.resize(static_cast<size_t>(options.num_heads));
  const auto evaluate_batch = [&](int64_t b) {
    const Sequences sequences = sequences_of_batch(dataset, b, options.batch, total);
    const StateRows rows = forward_state_rows(backbone, sequences, options.num_heads, options.batch, stream);
    std::vector<HeadMetrics> heads(static_cast<size_t>(options.num_heads));
    if (rows.rows() > 0) trainer.evaluate(rows, heads);
    MessageWriter writer;
    writer.add(rows.rows());
    writer.add(heads);
    return writer.take();
  };
  const int64_t batches = (total + options.batch - 1) / options.batch;
  const auto count_sequences = [&](int64_t done) {
    if (progress) progress(std::min(done * options.batch, total));
  };
  for (const std::string& packed :
       share.collect_each(batches, "the evaluation", evaluate_batch, count_sequences)) {
    MessageReader reader(packed);
    int64_t positions = 0;
    std::vector<HeadMetrics> heads;
    reader.get(positions);
    reader.get(heads);
    evaluation.positions += positions;
    for (size_t k = 0; k < heads.size(); ++k) evaluation.heads[k] += heads[k];
  }
  evaluation.loss = combined_loss(options.loss, evaluation.heads);
  return evaluation;
}

std::string evaluation_table(const std::string& data, const Evaluation& evaluation) {
  std::string out = fmt::format("{}: weighted loss {:.4f} over {}\n", data, evaluation.loss,
                                count_of(evaluation.positions, "supervised position"));
  out += fmt::format("{:>4} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9}\n", "head", "loss", "top-1", "top-2",
                     "top-3", "top-4", "top-5", "targets");
  for (size_t k = 0; k < evaluation.heads.size(); ++k) {
    const HeadMetrics& head = evaluation.heads[k];
    out += fmt::format("{:>4} {:>9.4f}", k + 1, mean_cross_entropy(head));
    for (int n = 1; n <= 5; ++n) out += fmt::format(" {:>6.1f}%", 100 * top_accuracy(head, n));
    out += fmt::format(" {:>9}\n", head.targets + head.outside);
  }
  const double outside = share_outside(evaluation.heads);
  if (outside > 0)
    out += fmt::format("{:.2f}% of the targets lie outside the heads' vocabulary\n", 100 * outside);
  if (evaluation.accept_length) {
    out += fmt::format("chain tau {:.3f} on the model's own answers to {} prompts\n",
                       *evaluation.accept_length, evaluation.prompts);
  }
  return out;
}

}  // namespace gorgon
