#pragma once

#include <memory>

#include "kernels/communicator.h"
#include "kernels/ranks/nccl_group.h"
#include "kernels/side_queue.h"

namespace gorgon {

// Collectives over the memory of one GPU a rank, by NCCL: in a queue beside the stream's, so that they run
// while it computes. Pending::wait makes the stream wait, not the host: seconds_waited() are the stream's, of
// those waits that it had behind it when the last one was asked for. Sums are NCCL's, in its own order and
// in the values' own type. Where a rank is lost, or NCCL fails, the process ends by the watch (nccl_group.h).
class NcclCommunicator final : public Communicator {
 public:
  // host: of the same ranks; carries NCCL's id to them. Both must outlive it. Returns when all ranks have
  // come.
  NcclCommunicator(const NcclApi& api, Communicator& host, PeerWatch& watch, Device device);

  Pending all_reduce(View values, ReduceOp op, std::string_view what, const Stream& stream) override;
  Pending all_gather_v(ConstView mine, View all, const std::vector<int64_t>& counts, std::string_view what,
                       const Stream& stream) override;
  Pending reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>& counts,
                           std::string_view what, const Stream& stream) override;
  Pending broadcast(View values, int root, std::string_view what, const Stream& stream) override;
  void barrier(std::string_view what) override;  // of the host
  void abort() noexcept override;
  void finish();  // the host waits for all that was asked

 private:
  NcclId id_of_job();
  Pending submit(const std::string& name, const Stream& stream, const NcclGroup::Calls& calls);
  // One call of NCCL for every rank's part, as one: `call` takes the bytes in front of it, its elements and
  // its rank.
  using PartCall = std::function<int(int64_t begin, size_t count, int rank)>;
  int for_parts(DType type, const std::vector<int64_t>& counts, const PartCall& call);

  NcclApi api_;
  Communicator& host_;
  Device device_;
  SideQueue queue_;
  NcclGroup group_;
  HoldClock holds_;  // what it has taken is in seconds_waited_
};

}  // namespace gorgon
