#pragma once

#include <memory>

#include "kernels/gemm.h"

// Inside of the CPU backend of gemm(): c is cut into tiles, each computed by one thread.
namespace gorgon::cpu {

struct Product {
  ConstView a, b;
  View c;
  GemmOptions options;

  int64_t m() const { return c.shape[0]; }
  int64_t n() const { return c.shape[1]; }
  int64_t k() const { return options.transpose_a ? a.shape[0] : a.shape[1]; }
};

// Rows [row, row + rows) x columns [column, column + columns) of c.
struct Tile {
  int64_t row, rows, column, columns;
};

// bf16 operands through oneDNN, for as long as the chip has the instructions (AVX-512 chips without them are
// served by an emulation slower than f32). Sums inside a tile depend on the tile's shape.
bool onednn_multiplies_bf16();

class OneDnnTiles {
 public:
  explicit OneDnnTiles(const Product& product);  // one per thread; product outlives it
  ~OneDnnTiles();
  void multiply(const Tile& tile);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// f32 or bf16 operands in f32 arithmetic. Every element is summed the same way wherever it lies in a tile and
// whatever the tile: blocks of 256 terms in order of k, each a chain of fused multiply-adds from zero, added
// in order. oneDNN gives no such promise: its sums change with the number of rows, which would make a token
// decoded alone differ from the same token in a prefill.
class SimdTiles {
 public:
  explicit SimdTiles(const Product& product);  // one per thread; product outlives it
  void multiply(const Tile& tile);

 private:
  const Product& product_;
  Tensor packed_a_, packed_b_, sums_;
};

}  // namespace gorgon::cpu
