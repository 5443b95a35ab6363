// The one file that knows MPI.
#include <algorithm>
#include <chrono>
#include <thread>

#include <mpi.h>

#include "kernels/error.h"
#include "kernels/ranks/transport.h"

namespace gorgon {
namespace {

// Counts of MPI 3 are ints.
constexpr int64_t kMessageBytes = int64_t{1} << 30;
constexpr int kTag = 1;
constexpr int kBusyPolls = 200;
constexpr auto kNap = std::chrono::microseconds(50);  // the cores belong to the computation

class MpiTransport final : public Transport {
 public:
  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in,
                const WhileWaiting& waiting) override {
    std::vector<MPI_Request> requests;
    std::vector<int> peers;
    for (const Incoming& m : in) {
      for (int64_t begin = 0; begin < m.bytes; begin += kMessageBytes) {
        const auto size = static_cast<int>(std::min(kMessageBytes, m.bytes - begin));
        peers.push_back(m.peer);
        MPI_Irecv(m.data + begin, size, MPI_BYTE, m.peer, kTag, MPI_COMM_WORLD, &requests.emplace_back());
      }
    }
    for (const Outgoing& m : out) {
      for (int64_t begin = 0; begin < m.bytes; begin += kMessageBytes) {
        const auto size = static_cast<int>(std::min(kMessageBytes, m.bytes - begin));
        peers.push_back(m.peer);
        MPI_Isend(m.data + begin, size, MPI_BYTE, m.peer, kTag, MPI_COMM_WORLD, &requests.emplace_back());
      }
    }
    for (int polls = 0; !all_done(requests); ++polls) {
      if (polls < kBusyPolls) continue;
      const auto open = std::find_if(requests.begin(), requests.end(),
                                     [](MPI_Request request) { return request != MPI_REQUEST_NULL; });
      waiting(peers[static_cast<size_t>(open - requests.begin())]);
      std::this_thread::sleep_for(kNap);
    }
  }

 private:
  // Completed requests become null. One that failed is never done: the watch tells who is gone.
  static bool all_done(std::vector<MPI_Request>& requests) {
    std::vector<int> done(requests.size());
    int count = 0;
    const int result = MPI_Testsome(static_cast<int>(requests.size()), requests.data(), &count, done.data(),
                                    MPI_STATUSES_IGNORE);
    if (result != MPI_SUCCESS) return false;
    return std::all_of(requests.begin(), requests.end(),
                       [](MPI_Request request) { return request == MPI_REQUEST_NULL; });
  }
};

class OpenMpiJob final : public MpiJob {
 public:
  OpenMpiJob() {
    int provided = 0;
    // The collectives' thread calls MPI while the main thread does not.
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    if (provided < MPI_THREAD_SERIALIZED) {
      fail(ExitCode::peer, {"MPI", "threads", "MPI_THREAD_SERIALIZED", "less", "use another MPI library"});
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);  // a lost peer is reported, not aborted on
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string broadcast(const std::string& text) override {
    auto bytes = static_cast<int>(text.size());
    MPI_Bcast(&bytes, 1, MPI_INT, 0, MPI_COMM_WORLD);
    std::string result = text;
    result.resize(static_cast<size_t>(bytes));
    MPI_Bcast(result.data(), bytes, MPI_BYTE, 0, MPI_COMM_WORLD);
    return result;
  }
  std::unique_ptr<Transport> transport() override { return std::make_unique<MpiTransport>(); }
  void finish() override { MPI_Finalize(); }

 private:
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<MpiJob> join_mpi_job() {
  return std::make_unique<OpenMpiJob>();
}

}  // namespace gorgon
