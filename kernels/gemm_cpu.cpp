#include <algorithm>

#include "kernels/gemm_tiles.h"
#include "kernels/worker_loop.h"

namespace gorgon::cpu {

namespace {

int64_t pieces(int64_t whole, int64_t part) {
  return (whole + part - 1) / part;
}

// Tiles depend on the shape alone, never on the number of threads: same shape, same bits. Small products get
// small tiles, down to 64 x 64, so that many cores find work.
struct TileSize {
  int64_t rows, columns;
};

TileSize tile_size(int64_t m, int64_t n) {
  constexpr int64_t kMostRows = 256, kMostColumns = 512, kLeast = 64, kWantedTiles = 32;
  TileSize tile{std::min(m, kMostRows), std::min(n, kMostColumns)};
  const auto halve = [&](int64_t& side) { side = std::max(kLeast, pieces(side, 32) * 16); };
  while (pieces(m, tile.rows) * pieces(n, tile.columns) < kWantedTiles) {
    if (tile.columns > kLeast && (tile.columns >= tile.rows || tile.rows <= kLeast)) {
      halve(tile.columns);
    } else if (tile.rows > kLeast) {
      halve(tile.rows);
    } else {
      break;
    }
  }
  return tile;
}

template <typename Tiles>
void multiply_tiles(const Product& product, const Stream& stream) {
  const int64_t m = product.m(), n = product.n();
  const TileSize size = tile_size(m, n);
  const int64_t across = pieces(n, size.columns), count = pieces(m, size.rows) * across;
  parallel_workers(stream.threads(), count, [&] {
    return [&, tiles = Tiles(product)](int64_t i) mutable {
      const int64_t row = i / across * size.rows, column = i % across * size.columns;
      tiles.multiply({row, std::min(size.rows, m - row), column, std::min(size.columns, n - column)});
    };
  });
}

}  // namespace

void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  const Product product{a, b, c, options};
  if (a.type == DType::bf16 && onednn_multiplies_bf16()) {
    multiply_tiles<OneDnnTiles>(product, stream);
  } else {
    multiply_tiles<SimdTiles>(product, stream);
  }
}

}  // namespace gorgon::cpu
