#include "trainer/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "trainer/console.h"
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

Evaluation evaluate_dataset(HeadTrainer& trainer, const Backbone& backbone, const Dataset& dataset,
                            const EvaluationOptions& options, const Stream& stream,
                            const std::function<void(int64_t, int64_t)>& progress) {
  const int64_t total =
      options.limit < 0 ? dataset.sequences() : std::min<int64_t>(options.limit, dataset.sequences());
  Evaluation evaluation;
  evaluation.heads.resize(static_cast<size_t>(options.num_heads));
  for (int64_t begin = 0; begin < total; begin += options.batch) {
    std::vector<int64_t> which(static_cast<size_t>(std::min(options.batch, total - begin)));
    std::iota(which.begin(), which.end(), begin);
    const Sequences sequences = dataset.gather(which);
    const StateRows rows = forward_state_rows(backbone, sequences, options.num_heads, options.batch, stream);
    if (rows.rows() > 0) trainer.evaluate(rows, evaluation.heads);
    evaluation.positions += rows.rows();
    if (progress) progress(begin + static_cast<int64_t>(which.size()), total);
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
