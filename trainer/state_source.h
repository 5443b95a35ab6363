#pragma once

#include <memory>

#include "data/loader.h"
#include "data/sequences.h"
#include "kernels/communicator.h"
#include "model/backbone.h"
#include "model/state_rows.h"

namespace gorgon {

// Which rows a set of sequences has: host side, from labels alone. Head k (1..K) at position t targets the
// label of token t + 1 + k of the same sequence, -100 where there is none; a row exists when one of its K
// targets does. Rows are in order of position. Segments play no part: attention crosses them (packing
// wrapped), or there is one a sequence (packing none).
struct RowTable {
  std::vector<int32_t> row;      // [P] index into the sequences' flat tokens
  std::vector<int32_t> targets;  // [P, K]
  std::vector<int64_t> id;       // [P]
};
RowTable supervised_rows(const Sequences& sequences, int num_heads);

// Runs the backbone over the sequences, `micro_batch` sequences at a time, and keeps the states that rows
// read. Positions count from the start of each sequence. Empty tables where nothing is supervised.
// The second form keeps the memory of an earlier step's rows, where it is large enough.
StateRows forward_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                             int64_t micro_batch, const Stream& stream);
void forward_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                        int64_t micro_batch, StateRows& rows, const Stream& stream,
                        RepeatedWork* repeated = nullptr);  // as in BackboneContext

// The rows of sequences that several ranks hold all of, on all of them: each runs the backbone over its equal
// part of the sequences (equal_parts), and the states of one micro-batch travel while it works on the next
// one. Rows are in order of position, as above; states are not.
void gather_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                       int64_t micro_batch, Communicator& ranks, StateRows& rows, const Stream& stream);

// Hands out the table of one optimizer step after the other, from the backbone or from a cache
// (trainer/state_cache_source.h). Goes on from a LoaderState to the same rows.
class StateSource {
 public:
  virtual ~StateSource() = default;
  virtual int64_t steps_per_epoch() const = 0;
  // The next step's rows, in the memory of `rows` where it is large enough; returns the tokens that this
  // rank's part of them counts for.
  virtual int64_t next(StateRows& rows, const Stream& stream) = 0;
  virtual const LoaderState& state() const = 0;
  virtual void restore(const LoaderState& state) = 0;  // Error(checkpoint) where it is of other data
};

struct SourceOptions {
  int num_heads = 0;
  int64_t global_batch = 1;  // sequences per step
  int64_t micro_batch = 1;   // sequences that go through the backbone together
  bool shuffle = true;
  uint64_t key = 0;                // of the order
  int rank = 0, ranks = 1;         // online: this rank's equal part of every step's sequences
  Communicator* gather = nullptr;  // online: rows are those of all ranks (gather_state_rows), over this
};
Loader loader_of(const Dataset& dataset, const SourceOptions& options);

// Runs the backbone over every step's sequences. Backbone and data set must outlive it.
std::unique_ptr<StateSource> online_source(const Backbone& backbone, const Dataset& dataset,
                                           const SourceOptions& options);

}  // namespace gorgon
