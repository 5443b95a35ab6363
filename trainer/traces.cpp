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

int32_t copied_tokens(std::span<const int32_t> text, const std::vector<int32_t>& answer, size_t i,
                      const LookupOptions& options) {
  const std::vector<int32_t> copy = prompt_lookup(text, options);
  size_t right = 0;
  while (right < copy.size() && i + 1 + right < answer.size() && copy[right] == answer[i + 1 + right])
    ++right;
  return static_cast<int32_t>(right);
}

}  // namespace

SeenToken see_token(const DraftHeads& heads, std::span<const float> logits, int32_t target) {
  const int32_t column = heads.column(target);
  SeenToken seen{heads.rank(logits, target), column >= 0, 0};
  if (seen.inside) seen.loss = cross_entropy(logits, static_cast<size_t>(column));
  return seen;
}

void add_token(const SeenToken& token, HeadSums& sums) {
  if (token.rank < 0) return;
  ++sums.count;
  if (token.inside) {
    ++sums.inside;
    sums.cross_entropy += token.loss;
  }
  for (int32_t n = token.rank; n < 5; ++n) ++sums.top[static_cast<size_t>(n)];
}

Trace trace_answer(const Backbone& backbone, const DraftHeads& heads, const std::vector<int32_t>& prompt,
                   const std::vector<int32_t>& answer, const LookupOptions& lookup,
                   std::vector<HeadSums>& sums, const Stream& stream) {
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
    std::vector<SeenToken> seen(answer.size());
    over_rows(
        heads.outputs(), [&](View out) { heads.logits(static_cast<int>(k), states, out, stream); },
        [&](size_t i, std::span<const float> row) {
          if (i + k + 1 < answer.size()) seen[i] = see_token(heads, row, answer[i + k + 1]);
        });
    for (size_t i = 0; i < answer.size(); ++i) {
      trace.continuation.ranks[i * num_heads + k] = seen[i].rank;
      add_token(seen[i], sums[k]);
    }
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
