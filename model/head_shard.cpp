#include "model/head_shard.h"

#include <algorithm>
#include <numeric>

#include "kernels/communicator.h"

namespace gorgon {
namespace {

// Rows after which a matrix of `columns` columns is at a multiple of `block` elements.
int64_t rows_of_block(int64_t block, int64_t columns) {
  return block / std::gcd(block, columns);
}

}  // namespace

HeadShard shard_heads(const MedusaOptions& options, int64_t outputs, int64_t hidden, int64_t block, int rank,
                      int size) {
  int64_t unit = 1;  // a frozen Linear has no states
  if (options.linear == HeadLinear::own) unit = rows_of_block(block, hidden);
  if (options.linear == HeadLinear::lowrank) unit = rows_of_block(block, options.rank);
  return {block_parts(outputs, unit, size), block_parts(hidden, rows_of_block(block, hidden), size), rank};
}

std::vector<int64_t> counts_of(const std::vector<int64_t>& bounds, int64_t columns) {
  std::vector<int64_t> counts;
  for (size_t r = 0; r + 1 < bounds.size(); ++r) counts.push_back((bounds[r + 1] - bounds[r]) * columns);
  return counts;
}

}  // namespace gorgon
