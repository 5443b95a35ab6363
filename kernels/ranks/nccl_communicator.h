#pragma once

#include <memory>

#include "kernels/communicator.h"
#include "kernels/ranks/nccl_api.h"
#include "kernels/side_queue.h"

namespace gorgon {

// Collectives over the memory of one GPU a rank, by NCCL: in a queue beside the stream's, so that they run
// while it computes. Pending::wait makes the stream wait, not the host. Sums are NCCL's, in its own order and
// in the values' own type. A rank that is gone is told of by the watch over processes (peer_watch.h), which
// ends this one.
class NcclCommunicator final : public Communicator {
 public:
  // host: of the same ranks; carries NCCL's id to them, and must outlive it. Returns when all ranks have
  // come.
  NcclCommunicator(const NcclApi& api, Communicator& host, Device device);
  ~NcclCommunicator() override;

  Pending all_reduce(View values, ReduceOp op, std::string_view what, const Stream& stream) override;
  Pending all_gather_v(ConstView mine, View all, const std::vector<int64_t>& counts, std::string_view what,
                       const Stream& stream) override;
  Pending reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>& counts,
                           std::string_view what, const Stream& stream) override;
  Pending broadcast(View values, int root, std::string_view what, const Stream& stream) override;
  void barrier(std::string_view what) override;  // of the host
  void abort() noexcept override;

 private:
  void check(int result, const std::string& what) const;
  Pending finish(std::string what, const Stream& stream);

  NcclApi api_;
  Communicator& host_;
  Device device_;
  SideQueue queue_;
  void* comm_ = nullptr;
};

}  // namespace gorgon
