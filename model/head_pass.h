#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/loss_sums.h"
#include "kernels/vocabulary_cross_entropy.h"
#include "model/head_exchange.h"
#include "model/medusa_heads.h"

namespace gorgon {

// Sizes of the buffers of one chunk: at most `rows` rows of one head at a time.
struct HeadPassShape {
  int64_t rows = 0, hidden = 0, vocabulary = 0;  // vocabulary: N, the head's outputs (of a shard: its own)
  int layers = 1;
  DType type = DType::bf16;                       // T
  int64_t rank = 0;                               // r of a low rank head, 0 of the others
  std::optional<HeadShard> shard = std::nullopt;  // of heads that are divided over ranks
  float gradient_filter = 0;                      // threshold of columns_above(); 0 = every column counts

  int64_t own_hidden() const { return shard ? shard->end_hidden() - shard->first_hidden() : hidden; }  // H_r
};

// Where the gradients of one head go. With Write::accumulate all of them are f32.
struct HeadGradients {
  std::vector<View> weight;  // [L] of T or f32 [H, H] (of a shard [H_r, H])
  std::vector<View> bias;    // [L] of f32[H] (of a shard its own [H_r])
  View linear;               // own: T or f32 [N, H]
  View a, b;                 // lowrank: T or f32 [r, H], [N, r]
};

// One Medusa head over one chunk of R rows:
//   x_0 = hidden[rows];  u_l = x_l W_l^T + b_l;  x_{l+1} = x_l + silu(u_l);  z = x_L Linear^T
// forward keeps what backward consumes; logits and their gradient share one buffer. Three products per chunk
// pass the vocabulary: z, dLinear = g^T x_L and dx_L = g Linear; a frozen Linear needs no second one. There
// is no gradient below x_0, so the first ResBlock needs none of its input. Bits do not depend on the number
// of threads; those of a row's loss do not depend on the other rows (f32).
//
// Low rank (Linear = W0 + B A) has the same three products over [x_L, v], v = x_L A^T, and [W0, B]: z is
// rounded once, dB = g^T v, and g [W0, B] gives dx_L and dv at once; then dA = dv^T x_L, dx_L += dv A.
//
// Of a shard (head_shard.h), all ranks pass the same rows: u_l and x_{l+1} are computed by columns and
// gathered, logits and their gradient by ranges of the vocabulary whose statistics are merged, and dx_l is
// summed over ranks. Per chunk a rank receives (n-1)/n R H (T for each x_l, l > 0, f32 for each dx_l), n - 1
// times 12 R bytes of statistics, and hits. dA is a part of the sum over ranks. Losses and hits are those of
// the whole vocabulary on every rank.
//
// gradient_filter t: tokens whose |p - y| is below t in every row of the chunk get no gradient and give none
// to the features: the last two products pass the other tokens alone. Losses and hits are those of the whole
// vocabulary.
class HeadPass {
 public:
  // ranks: of a shard; must outlive it.
  HeadPass(const HeadPassShape& shape, Device device, Communicator* ranks = nullptr);
  static int64_t workspace_bytes(const HeadPassShape& shape);  // of all buffers

  // hidden T[Q, H]; rows i32[R] within it; labels i32[R], columns of the head's outputs, < 0 = none.
  void forward(const MedusaHead& head, ConstView hidden, ConstView rows, ConstView labels,
               const Stream& stream);

  // After forward: hits of vocabulary_cross_entropy.h, without gradients.
  void count_hits(ConstView labels, const Stream& stream);

  // After forward, once: hits, and the gradients of sum row_scale CE. row_scale f32[R].
  void backward(const MedusaHead& head, ConstView labels, ConstView row_scale, const HeadGradients& gradients,
                Write write, const Stream& stream);

  // After count_hits or backward: sums over the labelled rows, in device memory.
  void add_sums(ConstView labels, Write write, LossSums* sums, const Stream& stream);

  int64_t kept_tokens() const { return kept_tokens_; }  // of the last backward with a gradient filter

  // Per row, on the host, which waits: cross-entropies after forward, hits after count_hits or backward.
  std::vector<double> losses(const Stream& stream) const;
  std::vector<int32_t> hits(const Stream& stream) const;

 private:
  View chunk(Tensor& buffer) const { return buffer.view().rows(0, rows_); }
  View state(size_t l) { return chunk(x_[l]).columns(0, shape_.hidden); }                      // x_l
  View low() { return chunk(x_.back()).columns(shape_.hidden, shape_.hidden + shape_.rank); }  // v
  View logits();
  CrossEntropyStatistics statistics();
  // The part [.., H_r] of a state or its gradient that this rank computes.
  View own(Tensor& buffer) const {
    View part = buffer.view().rows(0, rows_ * shape_.own_hidden());
    part.shape = {rows_, shape_.own_hidden()};
    return part;
  }
  View own_columns(View x) const {
    return shape_.shard ? x.columns(shape_.shard->first_hidden(), shape_.shard->end_hidden()) : x;
  }
  ConstView own_bias(const MedusaHead::ResBlock& block) const;
  void forward_block(const MedusaHead& head, size_t l, const Stream& stream);
  void backward_input(const MedusaHead& head, size_t l, const Stream& stream);
  int64_t first_output() const { return shape_.shard ? shape_.shard->first_output() : 0; }
  ConstView weight_of(const MedusaHead& head, const Stream& stream);
  void backward_linear(const MedusaHead& head, const HeadGradients& gradients, Write write,
                       const Stream& stream);
  void backward_kept(const MedusaHead& head, ConstView row_scale, const HeadGradients& gradients, Write write,
                     const Stream& stream);
  int64_t padded_end(int64_t columns) const;
  void kept_products(const MedusaHead& head, const std::vector<int32_t>& columns, int64_t begin,
                     const HeadGradients& gradients, Write write, const Stream& stream);
  void backward_low_rank(const MedusaHead& head, const HeadGradients& gradients, Write write,
                         const Stream& stream);
  void backward_blocks(const MedusaHead& head, const HeadGradients& gradients, Write write,
                       const Stream& stream);

  HeadPassShape shape_;
  int64_t rows_ = 0;  // R of the chunk at work
  int64_t kept_tokens_ = 0;
  std::vector<Tensor> x_;  // [L + 1] of T[rows, H], the last one T[rows, H + r]
  std::vector<Tensor> u_;  // [L] of f32[rows * H_r]
  Tensor du_;              // T[rows * H_r]
  Tensor dy_;              // f32[rows, H + r]
  Tensor logits_;          // T[rows, row stride]
  Tensor statistics_;      // f32[3 * rows]: max, sum, label_logit of the R rows
  Tensor hits_;            // i32[rows]
  // Of a shard alone:
  std::optional<HeadExchange> exchange_;
  Tensor own_state_;  // T[rows * H_r]
  Tensor own_dy_;     // f32[rows * H_r]
  // Low rank alone:
  Tensor joint_;                          // T[N, H + r]: [W0, B]
  std::shared_ptr<const Tensor> joined_;  // the W0 it holds
  Tensor in_order_;                       // i32[rows]: 0, 1, ...
  Tensor dlow_wide_, dlow_;               // f32[rows, r], and the same in T where that is another type
  // With a gradient filter alone, of kKeptAtATime tokens:
  Tensor kept_weight_;    // T[., H + r]
  Tensor kept_gradient_;  // f32, for what a product of them writes: [., H] or [., r] of T or f32
};

}  // namespace gorgon
