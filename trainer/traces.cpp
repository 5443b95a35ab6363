#include "trainer/traces.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/thread_pool.h"

namespace gorgon {
namespace {

Tensor states_along(const Backbone& backbone, const std::vector<int32_t>& text, const Stream& stream) {
  BackboneContext context;
  context.positions.resize(text.size());
  std::iota(context.positions.begin(), context.positions.end(), 0);
  context.offsets = {0, std::ssize(text)};
  return backbone.forward(text, context, stream);
}

double cross_entropy(std::span<const float> logits, size_t target) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float z : logits) sum += std::exp(static_cast<double>(z) - largest);
  return largest + std::log(sum) - static_cast<double>(logits[target]);
}

// One row of one head: rank and loss of the token it had to foresee.
struct Seen {
  int32_t rank = -1;
  double loss = 0;
  bool inside = false;
};

void add(const std::vector<Seen>& rows, HeadSums& sums) {
  for (const Seen& row : rows) {
    if (row.rank < 0) continue;
    ++sums.count;
    if (row.inside) {
      ++sums.inside;
      sums.cross_entropy += row.loss;
    }
    for (int32_t n = row.rank; n < 5; ++n) ++sums.top[static_cast<size_t>(n)];
  }
}

int32_t copied_tokens(std::span<const int32_t> text, const std::vector<int32_t>& answer, size_t i,
                      const LookupOptions& options) {
  const std::vector<int32_t> copy = prompt_lookup(text, options);
  size_t right = 0;
  while (right < copy.size() && i + 1 + right < answer.size() && copy[right] == answer[i + 1 + right]) ++right;
  return static_cast<int32_t>(right);
}

}  // namespace

Trace trace_answer(const Backbone& backbone, const DraftHeads& heads, const std::vector<int32_t>& prompt,
                   const std::vector<int32_t>& answer, const LookupOptions& lookup, std::vector<HeadSums>& sums,
                   const Stream& stream) {
  const auto m = std::ssize(answer), start = std::ssize(prompt) - 1;
  const auto num_heads = static_cast<size_t>(heads.count());
  Trace trace;
  trace.continuation.tokens = answer;
  trace.continuation.ranks.assign(static_cast<size_t>(m) * num_heads, -1);
  std::vector<int32_t> text = prompt;
  text.insert(text.end(), answer.begin(), answer.end());
  for (size_t i = 0; i < answer.size(); ++i) {
    const auto so_far = std::span(text).first(prompt.size() + i + 1);
    trace.continuation.lookup.push_back(copied_tokens(so_far, answer, i, lookup));
  }
  text.pop_back();  // nothing is asked behind the last token
  const Tensor all = states_along(backbone, text, stream);
  const ConstView states = all.view().rows(start, start + m);
  // `each(row, logits)` for all m rows, on the threads.
  const auto over_rows = [&](int64_t width, const auto& product, const auto& each) {
    Tensor logits(DType::f32, {m, width}, stream.device());
    product(logits.view());
    const Tensor host = logits.to(Device{});
    stream.threads().parallel_for(m, [&](int64_t i) {
      each(static_cast<size_t>(i), std::span(host.as<float>() + i * width, static_cast<size_t>(width)));
    });
  };
  trace.top_logit.resize(answer.size());
  over_rows(
      backbone.config().vocab_size, [&](View out) { backbone.logits(states, out, stream); },
      [&](size_t i, std::span<const float> row) { trace.top_logit[i] = top_two(row).top; });
  for (size_t k = 0; k < num_heads; ++k) {
    std::vector<Seen> seen(answer.size());
    over_rows(
        heads.outputs(), [&](View out) { heads.logits(static_cast<int>(k), states, out, stream); },
        [&](size_t i, std::span<const float> row) {
          if (i + k + 1 >= answer.size()) return;
          const int32_t target = answer[i + k + 1], column = heads.column(target);
          seen[i].rank = heads.rank(row, target);
          seen[i].inside = column >= 0;
          if (column >= 0) seen[i].loss = cross_entropy(row, static_cast<size_t>(column));
          trace.continuation.ranks[i * num_heads + k] = seen[i].rank;
        });
    add(seen, sums[k]);
  }
  return trace;
}

DecodedSet decode_prompts(const Backbone& backbone, const DraftHeads* heads, const DecoderOptions& options,
                          std::span<const Prompt> prompts, int64_t batch, const Stream& stream,
                          const CountProgress& progress) {
  DecodedSet set;
  set.answers.resize(prompts.size());
  Decoder decoder(backbone, heads, options, stream);
  uint64_t next = 0;
  int64_t done = 0;
  decoder.run(
      [&](DecodeRequest& request) {
        if (next == prompts.size()) return false;
        request = {next, prompts[next].tokens};
        ++next;
        return true;
      },
      batch,
      [&](const DecodeRequest& request, Answer& answer) {
        set.answers[request.id] = std::move(answer);
        if (progress) progress(++done);
      });
  set.times = decoder.times();
  return set;
}

}  // namespace gorgon
