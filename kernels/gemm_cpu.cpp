#include <algorithm>

#include "kernels/gemm_tiles.h"
#include "kernels/worker_loop.h"
#include "kernels/workspace.h"

namespace gorgon::cpu {

namespace {

int64_t pieces(int64_t whole, int64_t part) {
  return (whole + part - 1) / part;
}

// The length of equal pieces of `whole`, at most `most` long, in multiples of 32.
int64_t share(int64_t whole, int64_t most) {
  if (whole <= most) return whole;
  return pieces(pieces(whole, pieces(whole, most)), 32) * 32;
}

// oneDNN's sums depend on the tile, so its tiles depend on the shape alone, never on the number of threads:
// same shape, same bits. Small products get small tiles, so that many cores find work. The sizes are those
// that oneDNN multiplies fastest (docs/performance.md).
constexpr int64_t kWantedTiles = 16;

struct TileSize {
  int64_t rows, columns;
  int64_t count(int64_t m, int64_t n) const { return pieces(m, rows) * pieces(n, columns); }
};

TileSize largest_tile(int64_t m, int64_t n) {
  constexpr int64_t kRows = 512, kRowsOfWide = 1024, kColumns = 512, kWholeColumns = 640, kWide = 2048;
  return {share(m, n > kWide ? kRowsOfWide : kRows), n <= kWholeColumns ? n : share(n, kColumns)};
}

// Cut until there are `wanted` tiles, or an equal number for each of `threads`.
TileSize tile_size(int64_t m, int64_t n, int64_t wanted, int64_t threads) {
  constexpr int64_t kLeast = 64;
  TileSize tile = largest_tile(m, n);
  const auto halve = [&](int64_t& side) { side = std::max(kLeast, pieces(side, 32) * 16); };
  while (tile.count(m, n) < wanted && tile.count(m, n) % threads != 0) {
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
void multiply_tiles(const Product& product, const TileSize& size, const Stream& stream) {
  const int64_t m = product.m(), n = product.n();
  const int64_t across = pieces(n, size.columns);
  parallel_workers(stream.threads(), size.count(m, n), [&] {
    return [&, tiles = Tiles(product)](int64_t i) mutable {
      const int64_t row = i / across * size.rows, column = i % across * size.columns;
      tiles.multiply({row, std::min(size.rows, m - row), column, std::min(size.columns, n - column)});
    };
  });
}

// Few large tiles of long sums (the gradient of the features) are cut along k instead: every piece is a
// product of its own in f32, and the pieces are added in order.
int64_t pieces_of_k(const Product& product) {
  constexpr int64_t kLeastDepth = 4096;
  const int64_t tiles = largest_tile(product.m(), product.n()).count(product.m(), product.n());
  return std::clamp<int64_t>(kWantedTiles / tiles, 1, std::max<int64_t>(1, product.k() / kLeastDepth));
}

template <typename T>
void add_pieces(View sums, View c, Write write, int64_t row) {
  const int64_t n = c.columns(), piece = c.elements();
  const float* from = sums.as<float>() + row * n;
  T* to = c.as<T>() + row * c.stride();
  for (int64_t j = 0; j < n; ++j) {
    float sum = write == Write::accumulate ? static_cast<float>(to[j]) : 0.0f;
    for (int64_t p = 0; p < sums.shape[0]; ++p) sum += from[p * piece + j];
    to[j] = T(sum);
  }
}

// Pieces [first, first + sums' first dimension) of a product, as multiply_pieces() cuts it.
void multiply_round(const Product& product, int64_t first, int64_t depth, View sums, const Stream& stream) {
  const auto& [a, b, c, options] = product;
  const int64_t m = product.m(), n = product.n(), k = product.k();
  const TileSize size = largest_tile(m, n);
  const int64_t across = pieces(n, size.columns), tiles = size.count(m, n);
  parallel_workers(stream.threads(), sums.shape[0] * tiles, [&] {
    return [&](int64_t i) {
      const int64_t begin = (first + i / tiles) * depth, end = std::min(begin + depth, k), tile = i % tiles;
      View to = sums.rows(i / tiles, i / tiles + 1);
      to.shape = {m, n};
      const Product part{options.transpose_a ? a.rows(begin, end) : a.columns(begin, end),
                         options.transpose_b ? b.columns(begin, end) : b.rows(begin, end),
                         to,
                         {options.transpose_a, options.transpose_b, Write::overwrite}};
      const int64_t row = tile / across * size.rows, column = tile % across * size.columns;
      OneDnnTiles(part).multiply(
          {row, std::min(size.rows, m - row), column, std::min(size.columns, n - column)});
    };
  });
}

// As many pieces at a time as keep the threads at work, since each takes the memory of a c of its own. An f32
// c holds the sum in between, so that the order of the additions, and the bits, stay the same.
void multiply_pieces(const Product& product, int64_t count, const Stream& stream) {
  constexpr int64_t kTilesPerThread = 4;
  const View c = product.c;
  const int64_t m = product.m(), n = product.n(), k = product.k(), depth = share(k, pieces(k, count));
  const int64_t tiles = largest_tile(m, n).count(m, n), parts = pieces(k, depth);
  const int64_t wanted = pieces(kTilesPerThread * stream.threads().size(), tiles);
  const int64_t at_once = c.type == DType::f32 ? std::min(wanted, parts) : parts;
  Workspace workspace(stream);
  const View sums = workspace.take("pieces of a product", DType::f32, {at_once, m, n});
  const auto add = c.type == DType::f32 ? add_pieces<float> : add_pieces<bf16>;
  for (int64_t first = 0; first < parts; first += at_once) {
    const View round = sums.rows(0, std::min(at_once, parts - first));
    multiply_round(product, first, depth, round, stream);
    const Write write = first == 0 ? product.options.write : Write::accumulate;
    stream.threads().parallel_ranges(m, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) add(round, c, write, row);
    });
  }
}

}  // namespace

void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  const Product product{a, b, c, options};
  const int64_t m = product.m(), n = product.n();
  if (a.type != DType::bf16 || !onednn_multiplies_bf16()) {
    // Sums are the same whatever the tile: as large as leaves every thread two, for packing costs the less.
    const int64_t threads = stream.threads().size();
    multiply_tiles<SimdTiles>(product, tile_size(m, n, 2 * threads, threads), stream);
  } else if (const int64_t count = pieces_of_k(product); count > 1) {
    multiply_pieces(product, count, stream);
  } else {
    multiply_tiles<OneDnnTiles>(product, tile_size(m, n, kWantedTiles, kWantedTiles), stream);
  }
}

}  // namespace gorgon::cpu
