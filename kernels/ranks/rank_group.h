#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/communicator.h"
#include "kernels/ranks/launch_environment.h"
#include "kernels/ranks/meeting.h"
#include "kernels/ranks/peer_watch.h"
#include "kernels/ranks/transport.h"

namespace gorgon {

class NcclCommunicator;

// This process among those of its job: who it is, the collectives, the watch over the others. A process that
// was started alone is a group of one, which opens no socket and needs no MPI.
class RankGroup {
 public:
  RankGroup();  // of one
  // Returns when all ranks have come; NotMet where they do not (meeting.h). on_loss: peer_watch.h.
  RankGroup(const LaunchEnvironment& launched, const MeetingTerms& terms, PeerWatch::OnLoss on_loss);
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_first() const { return rank_ == 0; }
  // The rank whose word all see: rank 0, or rank 1 where rank 0 is silent.
  bool speaks_first() const { return watch_ == nullptr || watch_->speaks_first(); }
  bool is_several() const { return size_ > 1; }
  int local_rank() const { return local_rank_; }  // among the ranks of this machine
  int local_size() const { return local_size_; }
  int threads() const { return threads_; }  // this rank's share of the machine's cores (cores.h); 0 = alone
  std::string name(int rank) const;         // "rank 1 on HOST"

  Communicator& host() { return *communicator_; }  // collectives over host memory
  // Over a device's: host() for a CPU; NCCL for a GPU, always the same one, which all ranks ask for together.
  // Error(resource) where there is no NCCL.
  Communicator& on(Device device);

  void set_step(int64_t step);        // named in reports
  void set_deadline(double seconds);  // of every collective, and of a silent rank; 600 at first
  // Of collectives alone: while one rank does what the others wait for.
  void set_patience(double seconds);
  // All ranks have agreed to leave the work at hand; streams of ranks ask at their stop points.
  void agree_to_stop() { stop_agreed_ = true; }
  bool stop_agreed() const { return stop_agreed_; }
  void leave();                       // the end, when all went well: waits for the others
  void fail(const std::string& why);  // the end, when it did not: tells the others

 private:
  std::unique_ptr<Transport> connect(const Socket& listener, const MeetingTerms& terms);
  void find_neighbours();
  void abort_on_gpu();

  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1, threads_ = 0;
  std::atomic<bool> stop_agreed_{false};
  std::unique_ptr<MpiJob> mpi_;
  std::unique_ptr<PeerWatch> watch_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Communicator> communicator_;
  std::mutex on_gpu_mutex_;  // making and unmaking of what follows, against the watch's thread
  std::unique_ptr<NcclCommunicator> on_gpu_;
};

// In the place of joining: tells the other ranks that this one failed, and why; takes some seconds at most.
// Returns whether another rank tells people so, so that this one need not.
bool decline_to_join(const LaunchEnvironment& launched, const std::string& why);

}  // namespace gorgon
