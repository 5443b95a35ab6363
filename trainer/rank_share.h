#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/ranks/rank_group.h"

namespace gorgon {

// Independent pieces of work (batches, prompts), divided over the ranks of a job: piece i is rank i mod n's.
// Beside the work a thread tells all ranks a few times a second what is done, so that nobody waits for
// anybody before the end, a rank that is gone is noticed soon, and results arrive while others are computed.
// What is made of them in the order of pieces does not depend on the number of ranks.
//
// A request to stop (`stop_wanted`, of any rank) makes all ranks stop behind the same exchange: the group has
// then agreed to stop, which the stop points of its streams throw for (run_stream.h). A group of one calls
// straight through, without a thread.
class RankShare {
 public:
  // ranks: borrowed. stop_wanted: asked by the thread; of one process never.
  RankShare(RankGroup& ranks, std::function<bool()> stop_wanted);

  using Put = std::function<void(int64_t piece, std::string result)>;
  using Work = std::function<void(const std::vector<int64_t>& mine, const Put& put)>;
  using Arrived = std::function<void(int64_t piece, std::string& result)>;

  // Pieces [begin, end): `work` puts a result for each of `mine`, in any order; `arrived` is called for every
  // piece on every rank, in no order, by one thread at a time that is not the caller's. Collective; no other
  // collective runs meanwhile. `what` names it in messages. Rethrows what work or arrived threw; Stopped on
  // all ranks, or on none.
  void run(int64_t begin, int64_t end, const std::string& what, const Work& work, const Arrived& arrived);

  // All results [count], on every rank. progress(done) counts pieces of all ranks.
  std::vector<std::string> collect(int64_t count, const std::string& what, const Work& work,
                                   const std::function<void(int64_t done)>& progress);
  // The same where one piece is computed after the other.
  std::vector<std::string> collect_each(int64_t count, const std::string& what,
                                        const std::function<std::string(int64_t piece)>& work,
                                        const std::function<void(int64_t done)>& progress);

  // `work` on rank 0; the others wait for it.
  void on_first(const std::string& what, const std::function<void()>& work);

  RankGroup& ranks() { return ranks_; }
  bool stop_wanted() const { return stop_wanted_(); }

 private:
  RankGroup& ranks_;
  std::function<bool()> stop_wanted_;
};

}  // namespace gorgon
