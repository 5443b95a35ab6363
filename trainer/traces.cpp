#include "trainer/traces.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/thread_pool.h"
#include "trainer/rank_message.h"

namespace gorgon {
namespace {

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

HeadSums& HeadSums::operator+=(const HeadSums& other) {
  cross_entropy += other.cross_entropy;
  inside += other.inside;
  count += other.count;
  for (size_t n = 0; n < top.size(); ++n) top[n] += other.top[n];
  return *this;
}

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

Tensor answer_states(const Backbone& backbone, const std::vector<int32_t>& prompt,
                     const std::vector<int32_t>& answer, const Stream& stream) {
  std::vector<int32_t> text = prompt;
  text.insert(text.end(), answer.begin(), answer.end());
  text.pop_back();  // nothing is asked behind the last token
  BackboneContext context;
  context.positions.resize(text.size());
  std::iota(context.positions.begin(), context.positions.end(), 0);
  context.offsets = {0, std::ssize(text)};
  const Tensor all = backbone.forward(text, context, stream);
  const auto m = std::ssize(answer), start = std::ssize(prompt) - 1;
  Tensor states(all.type(), {m, all.shape()[1]}, stream.device());
  copy_bytes(stream.device(), states.data(), stream.device(), all.view().rows(start, start + m).data,
             states.bytes());
  return states;
}

namespace {

// `each(row, logits)` on the threads, for all m rows that `product` writes.
template <typename Product, typename Each>
void over_rows(int64_t m, int64_t width, const Product& product, const Each& each, const Stream& stream) {
  Tensor logits(DType::f32, {m, width}, stream.device());
  product(logits.view());
  const Tensor host = logits.to(Device{});
  stream.threads().parallel_for(m, [&](int64_t i) {
    each(static_cast<size_t>(i), std::span(host.as<float>() + i * width, static_cast<size_t>(width)));
  });
}

}  // namespace

std::vector<int32_t> head_ranks(const DraftHeads& heads, ConstView states, const std::vector<int32_t>& answer,
                                std::vector<HeadSums>& sums, const Stream& stream) {
  const auto num_heads = static_cast<size_t>(heads.count());
  std::vector<int32_t> ranks(answer.size() * num_heads, -1);
  for (size_t k = 0; k < num_heads; ++k) {
    std::vector<SeenToken> seen(answer.size());
    over_rows(
        std::ssize(answer), heads.outputs(),
        [&](View out) { heads.logits(static_cast<int>(k), states, out, stream); },
        [&](size_t i, std::span<const float> row) {
          if (i + k + 1 < answer.size()) seen[i] = see_token(heads, row, answer[i + k + 1]);
        },
        stream);
    for (size_t i = 0; i < answer.size(); ++i) {
      ranks[i * num_heads + k] = seen[i].rank;
      add_token(seen[i], sums[k]);
    }
  }
  return ranks;
}

Trace trace_answer(const Backbone& backbone, const DraftHeads& heads, const std::vector<int32_t>& prompt,
                   const std::vector<int32_t>& answer, const LookupOptions& lookup,
                   std::vector<HeadSums>& sums, const Stream& stream) {
  Trace trace;
  trace.continuation.tokens = answer;
  std::vector<int32_t> text = prompt;
  for (size_t i = 0; i < answer.size(); ++i) {
    text.push_back(answer[i]);
    trace.continuation.lookup.push_back(copied_tokens(text, answer, i, lookup));
  }
  const Tensor states = answer_states(backbone, prompt, answer, stream);
  trace.top_logit.resize(answer.size());
  over_rows(
      std::ssize(answer), backbone.config().vocab_size,
      [&](View out) { backbone.logits(states.view(), out, stream); },
      [&](size_t i, std::span<const float> row) { trace.top_logit[i] = top_two(row).top; }, stream);
  trace.continuation.ranks = head_ranks(heads, states.view(), answer, sums, stream);
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

namespace {

// Calls each(part) for every part of an answer that travels, in one order.
void for_each_part(auto& answer, auto& times, const auto& each) {
  each(answer.tokens);
  each(answer.emitted);
  each(answer.offered);
  each(answer.top_logit);
  each(answer.margin);
  each(answer.stopped);
  each(answer.prefill_seconds);
  each(answer.decode_seconds);
  each(times);
}

std::string packed_answer(const Answer& answer, const DecodeTimes& times) {
  MessageWriter writer;
  for_each_part(answer, times, [&](const auto& part) { writer.add(part); });
  return writer.take();
}

void unpack_answer(const std::string& packed, Answer& answer, DecodeTimes& times) {
  MessageReader reader(packed);
  for_each_part(answer, times, [&](auto& part) { reader.get(part); });
}

// `sign` 1 or -1.
void add_times(const DecodeTimes& times, int sign, DecodeTimes& to) {
  to.prefill += sign * times.prefill;
  to.backbone += sign * times.backbone;
  to.heads += sign * times.heads;
  to.rest += sign * times.rest;
  to.steps += sign * times.steps;
}

}  // namespace

DecodedSet decode_divided(const Backbone& backbone, const DraftHeads& heads, const DecoderOptions& options,
                          std::span<const Prompt> prompts, const Stream& stream, RankShare& share,
                          const CountProgress& progress) {
  const auto decode = [&](const std::vector<int64_t>& mine, const RankShare::Put& put) {
    Decoder decoder(backbone, &heads, options, stream);
    DecodeTimes before;
    size_t next = 0;
    decoder.run(
        [&](DecodeRequest& request) {
          if (next == mine.size()) return false;
          const auto id = static_cast<uint64_t>(mine[next++]);
          request = {id, prompts[id].tokens};
          return true;
        },
        1,
        [&](const DecodeRequest& request, Answer& answer) {
          DecodeTimes times = decoder.times();
          add_times(before, -1, times);
          before = decoder.times();
          put(static_cast<int64_t>(request.id), packed_answer(answer, times));
        });
  };
  DecodedSet set;
  for (const std::string& packed : share.collect(std::ssize(prompts), "answers", decode, progress)) {
    DecodeTimes times;
    unpack_answer(packed, set.answers.emplace_back(), times);
    add_times(times, 1, set.times);
  }
  return set;
}

}  // namespace gorgon
