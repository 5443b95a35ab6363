#include "model/head_pass.h"

#include <cmath>
#include <numeric>

#include "kernels/convert.h"
#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "kernels/gradient_filter.h"
#include "kernels/profile.h"
#include "kernels/resblock.h"
#include "kernels/transfer.h"

namespace gorgon {

namespace {

// Elements between rows of logits: whole cache lines, and never a multiple of a page, since then all rows
// would fall into the same few sets of the cache.
int64_t logit_stride(int64_t vocabulary) {
  constexpr int64_t kLine = 64, kPage = 1024;
  const int64_t lines = (vocabulary + kLine - 1) / kLine * kLine;
  return lines % kPage == 0 ? lines + kLine : lines;
}

// Tokens that pass one product when gradients are filtered, and what their number is padded to: few shapes of
// products, whatever is left.
constexpr int64_t kKeptAtATime = 8192, kKeptMultiple = 1024;

int64_t kept_at_a_time(const HeadPassShape& shape) {
  return std::min(kKeptAtATime, logit_stride(shape.vocabulary));
}

// A view's values on the host.
template <typename T>
std::vector<T> read(ConstView view) {
  std::vector<T> values(static_cast<size_t>(view.elements()));
  copy_bytes({}, values.data(), view.device, view.data, bytes_of(view.type, view.elements()));
  return values;
}

constexpr Purpose kChunk{"a chunk of rows of a head", "set load_in_4bit: true, or lower medusa_num_heads"};

}  // namespace

HeadPass::HeadPass(const HeadPassShape& shape, Device device, Communicator* ranks) : shape_(shape) {
  const int64_t own = shape.rows * shape.own_hidden();
  const int64_t wide = shape.hidden + shape.rank;
  const Shape rows_by_hidden = {shape.rows, shape.hidden}, rows_by_wide = {shape.rows, wide};
  for (int l = 0; l < shape.layers; ++l) {
    x_.emplace_back(shape.type, rows_by_hidden, device, kChunk);
    u_.emplace_back(DType::f32, Shape{own}, device, kChunk);
  }
  x_.emplace_back(shape.type, rows_by_wide, device, kChunk);
  du_ = Tensor(shape.type, {own}, device, kChunk);
  dy_ = Tensor(DType::f32, rows_by_wide, device, kChunk);
  logits_ = Tensor(shape.type, {shape.rows, logit_stride(shape.vocabulary)}, device,
                   {"logits of a chunk", "set medusa_vocab: seen, or lower medusa_num_heads"});
  statistics_ = Tensor(DType::f32, {3 * shape.rows}, device, kChunk);
  hits_ = Tensor(DType::i32, {shape.rows}, device, kChunk);
  if (shape.shard) {
    require(ranks != nullptr, "HeadPass", "a shard without its ranks");
    exchange_.emplace(*shape.shard, *ranks, shape.rows, shape.type, device);
    own_state_ = Tensor(shape.type, {own}, device, kChunk);
    own_dy_ = Tensor(DType::f32, {own}, device, kChunk);
  }
  if (shape.gradient_filter > 0) {
    const int64_t kept = kept_at_a_time(shape);
    kept_weight_ = Tensor(shape.type, {kept, wide}, device, kChunk);
    kept_gradient_ = Tensor(DType::f32, {kept, std::max(shape.hidden, shape.rank)}, device, kChunk);
  }
  if (shape.rank == 0) return;
  joint_ = Tensor(shape.type, {shape.vocabulary, wide}, device, kChunk);
  std::vector<int32_t> numbers(static_cast<size_t>(shape.rows));
  std::iota(numbers.begin(), numbers.end(), 0);
  in_order_ = Tensor::of(numbers, {shape.rows}, device);
  dlow_wide_ = Tensor(DType::f32, {shape.rows, shape.rank}, device);
  if (shape.type != DType::f32) dlow_ = Tensor(shape.type, {shape.rows, shape.rank}, device);
}

int64_t HeadPass::workspace_bytes(const HeadPassShape& shape) {
  const int64_t states = shape.rows * shape.hidden, low = shape.rows * shape.rank;
  const int64_t own = shape.rows * shape.own_hidden();
  int64_t bytes = bytes_of(shape.type, states * (shape.layers + 1) + own + low) +
                  bytes_of(DType::f32, own * shape.layers + states + low) +
                  bytes_of(shape.type, shape.rows * logit_stride(shape.vocabulary)) +
                  4 * bytes_of(DType::f32, shape.rows);
  if (shape.shard) {
    bytes += HeadExchange::workspace_bytes(*shape.shard, shape.rows, shape.type) + bytes_of(shape.type, own) +
             bytes_of(DType::f32, own);
  }
  if (shape.gradient_filter > 0) {
    const int64_t kept = kept_at_a_time(shape);
    bytes += bytes_of(shape.type, kept * (shape.hidden + shape.rank)) +
             bytes_of(DType::f32, kept * std::max(shape.hidden, shape.rank));
  }
  if (shape.rank == 0) return bytes;
  bytes += bytes_of(shape.type, shape.vocabulary * (shape.hidden + shape.rank)) +
           bytes_of(DType::i32, shape.rows) + bytes_of(DType::f32, low);
  return shape.type == DType::f32 ? bytes : bytes + bytes_of(shape.type, low);
}

View HeadPass::logits() {
  return chunk(logits_).columns(0, shape_.vocabulary);
}

CrossEntropyStatistics HeadPass::statistics() {
  const View all = statistics_.view();
  return {all.rows(0, rows_), all.rows(rows_, 2 * rows_), all.rows(2 * rows_, 3 * rows_)};
}

ConstView HeadPass::own_bias(const MedusaHead::ResBlock& block) const {
  const ConstView bias = block.bias.view();
  return shape_.shard ? ConstView(bias.rows(shape_.shard->first_hidden(), shape_.shard->end_hidden())) : bias;
}

// x_{l+1} from x_l.
void HeadPass::forward_block(const MedusaHead& head, size_t l, const Stream& stream) {
  const MedusaHead::ResBlock& block = head.blocks[l];
  gemm(state(l), block.weight.view(), own(u_[l]), {.transpose_b = true}, stream);
  const View to = exchange_ ? own(own_state_) : state(l + 1);
  resblock_forward(own(u_[l]), own_bias(block), own_columns(state(l)), to, stream);
  if (exchange_) exchange_->gather_columns(to, state(l + 1), stream);
}

// dy += du W, in front of block l; of a shard the sum over ranks.
void HeadPass::backward_input(const MedusaHead& head, size_t l, const Stream& stream) {
  const View dy = chunk(dy_).columns(0, shape_.hidden);
  if (exchange_) {
    zero(chunk(dy_), stream);
    copy_rows(own(own_dy_), own_columns(dy), stream);
  }
  gemm(own(du_), head.blocks[l].weight.view(), dy, {.write = Write::accumulate}, stream);
  if (exchange_) exchange_->sum_columns(dy, own(own_dy_), stream);
}

// The matrix that the last states [x_L] or [x_L, v] are multiplied with.
ConstView HeadPass::weight_of(const MedusaHead& head, const Stream& stream) {
  if (shape_.rank == 0) return head.frozen.empty() ? head.linear.view() : head.frozen.view();
  if (joined_ != head.frozen.storage) {
    dequantise(head.frozen, 0, joint_.view().columns(0, shape_.hidden), stream);
    joined_ = head.frozen.storage;
  }
  // Every time: heads take turns, and a step changes B.
  dequantise(head.b.view(), joint_.view().columns(shape_.hidden, shape_.hidden + shape_.rank), stream);
  return joint_.view();
}

void HeadPass::forward(const MedusaHead& head, ConstView hidden, ConstView rows, ConstView labels,
                       const Stream& stream) {
  require(rows.elements() <= shape_.rows && rows.elements() == labels.elements(), "HeadPass", "rows");
  rows_ = rows.elements();
  {
    const ProfileScope scope(stream, "heads: ResBlocks");
    gather_rows(hidden, rows, state(0), stream);
    for (size_t l = 0; l < u_.size(); ++l) forward_block(head, l, stream);
  }
  const ProfileScope scope(stream, "heads: logits");
  if (shape_.rank > 0) gemm(state(u_.size()), head.a.view(), low(), {.transpose_b = true}, stream);
  cross_entropy_statistics(chunk(x_.back()), weight_of(head, stream), labels, first_output(), logits(),
                           statistics(), stream);
  if (exchange_) exchange_->merge(statistics_.view().rows(0, 3 * rows_), stream);
}

void HeadPass::count_hits(ConstView labels, const Stream& stream) {
  const ProfileScope scope(stream, "heads: hits");
  cross_entropy_hits(logits(), labels, first_output(), statistics(), chunk(hits_), stream);
  if (exchange_) exchange_->sum_hits(chunk(hits_), stream).wait();
}

void HeadPass::backward(const MedusaHead& head, ConstView labels, ConstView row_scale,
                        const HeadGradients& gradients, Write write, const Stream& stream) {
  {
    const ProfileScope scope(stream, "heads: gradient of the logits");
    cross_entropy_gradient(logits(), labels, first_output(), statistics(), row_scale, chunk(hits_), stream);
  }
  Pending hits;
  if (exchange_) hits = exchange_->sum_hits(chunk(hits_), stream);
  if (shape_.gradient_filter > 0) {
    backward_kept(head, row_scale, gradients, write, stream);
  } else {
    backward_linear(head, gradients, write, stream);
  }
  backward_blocks(head, gradients, write, stream);
  hits.wait();
}

void HeadPass::backward_linear(const MedusaHead& head, const HeadGradients& gradients, Write write,
                               const Stream& stream) {
  const GemmOptions weight_gradient = {.transpose_a = true, .write = write};
  {
    const ProfileScope scope(stream, "heads: gradient of the Linear");
    if (head.frozen.empty()) gemm(logits(), state(u_.size()), gradients.linear, weight_gradient, stream);
    if (shape_.rank > 0) gemm(logits(), low(), gradients.b, weight_gradient, stream);
  }
  const ProfileScope scope(stream, "heads: gradient of the features");
  const ConstView weight = shape_.rank > 0 ? joint_.view() : weight_of(head, stream);
  gemm(logits(), weight, chunk(dy_), {}, stream);
  if (shape_.rank > 0) backward_low_rank(head, gradients, write, stream);
}

// Columns of the logits' buffer up to which gradients of `columns` tokens are padded with zeros.
int64_t HeadPass::padded_end(int64_t columns) const {
  static_assert(kKeptAtATime % kKeptMultiple == 0);
  return std::min((columns + kKeptMultiple - 1) / kKeptMultiple * kKeptMultiple, logits_.shape()[1]);
}

// The products of backward_linear() over tokens columns[begin] and the next ones, kKeptAtATime of them at
// most, whose gradients lie together in the logits' buffer.
void HeadPass::kept_products(const MedusaHead& head, const std::vector<int32_t>& columns, int64_t begin,
                             const HeadGradients& gradients, Write write, const Stream& stream) {
  const auto first = columns.begin() + begin;
  const std::vector<int32_t> tokens(first, first + std::min(kKeptAtATime, std::ssize(columns) - begin));
  const int64_t padded = padded_end(begin + std::ssize(tokens)) - begin;
  const View gradient = chunk(logits_).columns(begin, begin + padded);
  const auto weight_gradient = [&](ConstView x, View to) {
    View part = kept_gradient_.view();
    part.type = to.type;
    part.shape = {padded, to.shape[1]};
    gemm(gradient, x, part, {.transpose_a = true}, stream);
    scatter_rows(part, tokens, to, write, stream);
  };
  {
    const ProfileScope scope(stream, "heads: gradient of the Linear");
    if (head.frozen.empty()) weight_gradient(state(u_.size()), gradients.linear);
    if (shape_.rank > 0) weight_gradient(low(), gradients.b);
  }
  const ProfileScope scope(stream, "heads: gradient of the features");
  std::vector<int32_t> rows = tokens;
  rows.resize(static_cast<size_t>(padded), tokens.front());  // what follows meets zeros
  const ConstView weight = shape_.rank > 0 ? joint_.view() : weight_of(head, stream);
  const View kept = kept_weight_.view().rows(0, padded);
  gather_rows(weight, Tensor::of(rows, {padded}).view(), kept, stream);
  gemm(gradient, kept, chunk(dy_), {.write = begin == 0 ? Write::overwrite : Write::accumulate}, stream);
}

void HeadPass::backward_kept(const MedusaHead& head, ConstView row_scale, const HeadGradients& gradients,
                             Write write, const Stream& stream) {
  std::vector<int32_t> columns;
  {
    const ProfileScope scope(stream, "heads: gradient filter");
    columns = columns_above(logits(), row_scale, shape_.gradient_filter, stream);
    keep_columns(chunk(logits_), columns, padded_end(std::ssize(columns)), stream);
    if (write == Write::overwrite && head.frozen.empty()) zero(gradients.linear, stream);
    if (write == Write::overwrite && shape_.rank > 0) zero(gradients.b, stream);
    if (columns.empty()) zero(chunk(dy_), stream);
  }
  kept_tokens_ = std::ssize(columns);
  for (int64_t begin = 0; begin < kept_tokens_; begin += kKeptAtATime) {
    kept_products(head, columns, begin, gradients, write, stream);
  }
  if (shape_.rank > 0) backward_low_rank(head, gradients, write, stream);
}

void HeadPass::backward_low_rank(const MedusaHead& head, const HeadGradients& gradients, Write write,
                                 const Stream& stream) {
  const View dy = chunk(dy_).columns(0, shape_.hidden);
  View dlow = chunk(dlow_wide_);
  gather_rows(chunk(dy_).columns(shape_.hidden, shape_.hidden + shape_.rank), chunk(in_order_), dlow, stream);
  if (shape_.type != DType::f32) {
    convert(dlow, chunk(dlow_), stream);
    dlow = chunk(dlow_);
  }
  gemm(dlow, state(u_.size()), gradients.a, {.transpose_a = true, .write = write}, stream);
  gemm(dlow, head.a.view(), dy, {.write = Write::accumulate}, stream);
}

void HeadPass::backward_blocks(const MedusaHead& head, const HeadGradients& gradients, Write write,
                               const Stream& stream) {
  const ProfileScope scope(stream, "heads: ResBlocks backward");
  const View whole = chunk(dy_).columns(0, shape_.hidden), dy = exchange_ ? own(own_dy_) : whole;
  if (exchange_) exchange_->sum_columns(whole, dy, stream);
  for (size_t l = u_.size(); l-- > 0;) {
    resblock_backward(dy, own(u_[l]), own(du_), gradients.bias[l], write, stream);
    gemm(own(du_), state(l), gradients.weight[l], {.transpose_a = true, .write = write}, stream);
    if (l > 0) backward_input(head, l, stream);
  }
}

void HeadPass::add_sums(ConstView labels, Write write, LossSums* sums, const Stream& stream) {
  loss_sums(statistics(), chunk(hits_), labels, write, sums, stream);
}

std::vector<double> HeadPass::losses(const Stream& stream) const {
  stream.synchronize();
  const auto values = read<float>(statistics_.view().rows(0, 3 * rows_));
  const auto rows = static_cast<size_t>(rows_);
  std::vector<double> losses(rows);
  for (size_t i = 0; i < rows; ++i) {
    losses[i] = static_cast<double>(values[i]) + std::log(static_cast<double>(values[rows + i])) -
                static_cast<double>(values[2 * rows + i]);
  }
  return losses;
}

std::vector<int32_t> HeadPass::hits(const Stream& stream) const {
  stream.synchronize();
  return read<int32_t>(hits_.view().rows(0, rows_));
}

}  // namespace gorgon
