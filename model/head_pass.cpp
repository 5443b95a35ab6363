#include "model/head_pass.h"

#include <cmath>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/profile.h"
#include "kernels/resblock.h"

namespace gorgon {

namespace {

// Elements between rows of logits: whole cache lines, and never a multiple of a page, since then all rows
// would fall into the same few sets of the cache.
int64_t logit_stride(int64_t vocabulary) {
  constexpr int64_t kLine = 64, kPage = 1024;
  const int64_t lines = (vocabulary + kLine - 1) / kLine * kLine;
  return lines % kPage == 0 ? lines + kLine : lines;
}

// A tensor's first n values on the host.
template <typename T>
std::vector<T> read(const Tensor& tensor, int64_t n) {
  std::vector<T> values(static_cast<size_t>(n));
  copy_bytes({}, values.data(), tensor.device(), tensor.data(), bytes_of(tensor.type(), n));
  return values;
}

}  // namespace

HeadPass::HeadPass(const HeadPassShape& shape, Device device) : shape_(shape) {
  const Shape rows_by_hidden = {shape.rows, shape.hidden};
  for (int l = 0; l <= shape.layers; ++l) x_.emplace_back(shape.type, rows_by_hidden, device);
  for (int l = 0; l < shape.layers; ++l) u_.emplace_back(DType::f32, rows_by_hidden, device);
  du_ = Tensor(shape.type, rows_by_hidden, device);
  dy_ = Tensor(DType::f32, rows_by_hidden, device);
  logits_ = Tensor(shape.type, {shape.rows, logit_stride(shape.vocabulary)}, device);
  max_ = Tensor(DType::f32, {shape.rows}, device);
  sum_ = Tensor(DType::f32, {shape.rows}, device);
  label_logit_ = Tensor(DType::f32, {shape.rows}, device);
  hits_ = Tensor(DType::i32, {shape.rows}, device);
}

int64_t HeadPass::workspace_bytes(const HeadPassShape& shape) {
  const int64_t states = shape.rows * shape.hidden;
  return bytes_of(shape.type, states * (shape.layers + 2)) +
         bytes_of(DType::f32, states * (shape.layers + 1)) +
         bytes_of(shape.type, shape.rows * logit_stride(shape.vocabulary)) +
         4 * bytes_of(DType::f32, shape.rows);
}

View HeadPass::logits() {
  return chunk(logits_).columns(0, shape_.vocabulary);
}

CrossEntropyStatistics HeadPass::statistics() {
  return {chunk(max_), chunk(sum_), chunk(label_logit_)};
}

void HeadPass::forward(const MedusaHead& head, ConstView hidden, ConstView rows, ConstView labels,
                       const Stream& stream) {
  require(rows.elements() <= shape_.rows && rows.elements() == labels.elements(), "HeadPass", "rows");
  rows_ = rows.elements();
  {
    const ProfileScope scope(stream, "heads: ResBlocks");
    gather_rows(hidden, rows, chunk(x_[0]), stream);
    for (size_t l = 0; l < u_.size(); ++l) {
      gemm(chunk(x_[l]), head.blocks[l].weight.view(), chunk(u_[l]), {.transpose_b = true}, stream);
      resblock_forward(chunk(u_[l]), head.blocks[l].bias.view(), chunk(x_[l]), chunk(x_[l + 1]), stream);
    }
  }
  const ProfileScope scope(stream, "heads: logits");
  cross_entropy_statistics(chunk(x_.back()), head.linear.view(), labels, 0, logits(), statistics(), stream);
}

void HeadPass::count_hits(ConstView labels, const Stream& stream) {
  const ProfileScope scope(stream, "heads: hits");
  cross_entropy_hits(logits(), labels, 0, statistics(), chunk(hits_), stream);
}

void HeadPass::backward(const MedusaHead& head, ConstView labels, ConstView row_scale,
                        const HeadGradients& gradients, Write write, const Stream& stream) {
  const GemmOptions weight_gradient = {.transpose_a = true, .write = write};
  {
    const ProfileScope scope(stream, "heads: gradient of the logits");
    cross_entropy_gradient(logits(), labels, 0, statistics(), row_scale, chunk(hits_), stream);
  }
  {
    const ProfileScope scope(stream, "heads: gradient of the Linear");
    gemm(logits(), chunk(x_.back()), gradients.linear, weight_gradient, stream);
  }
  {
    const ProfileScope scope(stream, "heads: gradient of the features");
    gemm(logits(), head.linear.view(), chunk(dy_), {}, stream);
  }
  const ProfileScope scope(stream, "heads: ResBlocks backward");
  for (size_t l = u_.size(); l-- > 0;) {
    resblock_backward(chunk(dy_), chunk(u_[l]), chunk(du_), gradients.bias[l], write, stream);
    gemm(chunk(du_), chunk(x_[l]), gradients.weight[l], weight_gradient, stream);
    if (l > 0) {
      gemm(chunk(du_), head.blocks[l].weight.view(), chunk(dy_), {.write = Write::accumulate}, stream);
    }
  }
}

std::vector<double> HeadPass::losses(const Stream& stream) const {
  stream.synchronize();
  const auto max = read<float>(max_, rows_), sum = read<float>(sum_, rows_);
  const auto label_logit = read<float>(label_logit_, rows_);
  std::vector<double> losses(max.size());
  for (size_t i = 0; i < losses.size(); ++i) {
    losses[i] = static_cast<double>(max[i]) + std::log(static_cast<double>(sum[i])) -
                static_cast<double>(label_logit[i]);
  }
  return losses;
}

std::vector<int32_t> HeadPass::hits(const Stream& stream) const {
  stream.synchronize();
  return read<int32_t>(hits_, rows_);
}

}  // namespace gorgon
