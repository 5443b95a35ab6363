// Linked in place of the CUDA backend where it is not built: every call site stays free of #ifdef.
#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/dequantise.h"
#include "kernels/device.h"
#include "kernels/embedding.h"
#include "kernels/fp8_linear.h"
#include "kernels/gemm.h"
#include "kernels/loss_sums.h"
#include "kernels/not_built.h"
#include "kernels/repeated_work.h"
#include "kernels/resblock.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary_embedding.h"
#include "kernels/side_queue.h"
#include "kernels/swiglu.h"
#include "kernels/transfer.h"
#include "kernels/vocabulary_cross_entropy.h"

namespace gorgon::cuda {

bool is_built() {
  return false;
}
int device_count() {
  return 0;
}
void* allocate(int, int64_t) {
  not_built();
}
MemoryState memory_state(int) {
  not_built();
}
void release(int, void*) noexcept {}
void copy_bytes(Device, void*, Device, const void*, int64_t) {
  not_built();
}
void zero_bytes(int, void*, int64_t) {
  not_built();
}
void* create_stream(int) {
  not_built();
}
void destroy_stream(int, void*) noexcept {}
int compute_capability(int) {
  not_built();
}
void quantise_rows(ConstView, View, View, const Stream&) {
  not_built();
}
void scale_product(ConstView, ConstView, ConstView, View, Write, const Stream&) {
  not_built();
}
void* create_side_queue(int) {
  not_built();
}
void destroy_side_queue(int, void*) noexcept {}
void follow(const Stream&, const Stream&) {
  not_built();
}
void synchronize_side_queue(int, void*) {
  not_built();
}
void follow(int, void*, const Stream&) {
  not_built();
}
void* create_mark(int, void*) {
  not_built();
}
void destroy_mark(int, void*) noexcept {}
void hold(const Stream&, void*) {
  not_built();
}
bool passed(int, void*) noexcept {
  return true;
}
void* create_time(const Stream&) {
  not_built();
}
double seconds_between(int, void*, void*) noexcept {
  return 0;
}
void synchronize(int, void*) {
  not_built();
}

void upload(const void*, void*, int64_t, const Stream&) {
  not_built();
}
void copy_rows(const void*, int64_t, void*, int64_t, int64_t, int64_t, const Stream&) {
  not_built();
}
void zero(void*, int64_t, const Stream&) {
  not_built();
}
void* create_readback(int, int64_t) {
  not_built();
}
void destroy_readback(int, void*) noexcept {}
void start_readback(void*, const void*, const Stream&) {
  not_built();
}
const std::byte* wait_readback(int, void*) {
  not_built();
}

void* capture(const std::function<void()>&, const Stream&) {
  not_built();
}
void launch_graph(void*, const Stream&) {
  not_built();
}
void destroy_graph(void*) noexcept {}

void gemm(ConstView, ConstView, View, const GemmOptions&, const Stream&) {
  not_built();
}

void cross_entropy_statistics(ConstView, ConstView, ConstView, int64_t, View, const CrossEntropyStatistics&,
                              const Stream&) {
  not_built();
}
void merge_ranges(ConstView, const CrossEntropyStatistics&, const Stream&) {
  not_built();
}
void cross_entropy_hits(ConstView, ConstView, int64_t, const CrossEntropyStatistics&, View, const Stream&) {
  not_built();
}
void cross_entropy_gradient(View, ConstView, int64_t, const CrossEntropyStatistics&, ConstView, View,
                            const Stream&) {
  not_built();
}

void add_losses(const LossSums*, int, int, LossSums*, const Stream&) {
  not_built();
}
void loss_sums(const CrossEntropyStatistics&, ConstView, ConstView, Write, LossSums*, const Stream&) {
  not_built();
}

void resblock_forward(View, ConstView, ConstView, View, const Stream&) {
  not_built();
}
void resblock_backward(ConstView, ConstView, View, View, Write, const Stream&) {
  not_built();
}

void convert(ConstView, View, const Stream&) {
  not_built();
}
void gather_rows(ConstView, ConstView, View, const Stream&) {
  not_built();
}

void dequantise(ConstView, View, const Stream&) {
  not_built();
}

void attention(ConstView, std::span<const AttentionSequence>, const AttentionShape&, View, const Stream&) {
  not_built();
}
void embedding(ConstView, const WeightMatrix&, View, const Stream&) {
  not_built();
}
void rms_norm(ConstView, ConstView, float, View, const Stream&) {
  not_built();
}
void rotary_embedding(View, int64_t, ConstView, const RotaryTable&, const Stream&) {
  not_built();
}
void swiglu(ConstView, View, const Stream&) {
  not_built();
}

}  // namespace gorgon::cuda
