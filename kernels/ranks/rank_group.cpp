#include "kernels/ranks/rank_group.h"

#include <algorithm>
#include <random>

#include "kernels/error.h"
#include "kernels/ranks/hello.h"
#include "kernels/ranks/host_communicator.h"
#include "kernels/ranks/nccl_communicator.h"
#include "kernels/ranks/tcp_transport.h"
#include "kernels/ranks/transport.h"

namespace gorgon {
namespace {

std::string random_token() {
  std::random_device device;
  return std::to_string((static_cast<uint64_t>(device()) << 32) | device());
}

// MPI carries where rank 0 listens: its addresses, and loopback first for those on its own machine.
MeetingPoint meet_by_mpi(MpiJob& mpi) {
  MeetingPoint point;
  std::string text;
  if (mpi.rank() == 0) {
    point.listener = Socket::listen(0);
    text = random_token() + " " + std::to_string(point.listener.port()) + " " + own_host_name();
    for (const std::string& address : own_addresses()) text += " " + address;
  }
  text = mpi.broadcast(text);
  std::vector<std::string> words;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  require(words.size() >= 3, "RankGroup", "rank 0's address");
  point.token = words[0];
  point.port = std::stoi(words[1]);
  if (words[2] == own_host_name()) point.addresses.push_back("127.0.0.1");
  point.addresses.insert(point.addresses.end(), words.begin() + 3, words.end());
  return point;
}

// Rank 0's listener is not open where its port is taken.
MeetingPoint meet_by_address(const LaunchEnvironment& launched, const std::string& job) {
  MeetingPoint point;
  point.job_is_named = !launched.job.empty();
  point.job = point.job_is_named ? launched.job : job;
  point.port = launched.master_port;
  point.addresses = {launched.master_address};
  if (launched.rank != 0) return point;
  point.listener =
      launched.listening >= 0 ? Socket(launched.listening) : Socket::listen(launched.master_port);
  return point;
}

// Where a build has no MPI no rank has: the first one says so.
std::unique_ptr<MpiJob> join_mpi(const LaunchEnvironment& launched) {
  try {
    return join_mpi_job();
  } catch (const Error& error) {
    throw NotMet(error.what(), launched.rank != 0);
  }
}

constexpr double kSecondsToDecline = 10;

// The others cannot find rank 0 at a port that is not its own: it looks for them before it ends.
void require_port(const LaunchEnvironment& launched, const MeetingPoint& point, const Peer& self,
                  const MeetingTerms& terms) {
  if (launched.rank != 0 || point.listener.is_open()) return;
  const std::string line = line_of(
      {"rank 0 on " + self.host, "MASTER_PORT", "a port that rank 0 may listen at",
       std::to_string(point.port) + ", which another program has, or nobody may have", "choose another one"});
  if (terms.complain) terms.complain(line);
  decline(0, launched.size, point, self, line, kSecondsToDecline);
  throw NotMet(line, terms.complain != nullptr);
}

}  // namespace

RankGroup::RankGroup() : communicator_(single_communicator()) {}

RankGroup::RankGroup(const LaunchEnvironment& launched, const MeetingTerms& terms, PeerWatch::OnLoss on_loss)
    : rank_(launched.rank), size_(launched.size) {
  MeetingPoint point;
  Peer self;
  Socket listener;
  self.host = own_host_name();
  self.local_rank = launched.local_rank;
  self.cores = cores_of_process();
  if (launched.kind == LaunchEnvironment::Kind::mpi) {
    mpi_ = join_mpi(launched);
    rank_ = mpi_->rank();
    size_ = mpi_->size();
    point = meet_by_mpi(*mpi_);
  } else {
    point = meet_by_address(launched, terms.job);
    require_port(launched, point, self, terms);
    listener = Socket::listen(0);
    self.port = listener.port();
  }
  watch_ = std::make_unique<PeerWatch>(rank_, meet(rank_, size_, point, self, terms));
  point.listener.close();
  watch_->start([this, end = std::move(on_loss)](const std::string& line, bool speaks) {
    abort_on_gpu();
    end(line, speaks);
  });
  transport_ = mpi_ ? mpi_->transport() : connect(listener, terms);
  communicator_ = std::make_unique<HostCommunicator>(rank_, size_, *transport_, *watch_);
  find_neighbours();
}

// A rank that cannot reach another one tells all of them: none waits for its part.
std::unique_ptr<Transport> RankGroup::connect(const Socket& listener, const MeetingTerms& terms) {
  try {
    return connect_tcp_transport(rank_, watch_->peers(), listener, terms.seconds);
  } catch (const Error& error) {
    watch_->fail(error.what());
    throw NotMet(error.what(), rank_ != 0);
  }
}

bool decline_to_join(const LaunchEnvironment& launched, const std::string& why) {
  Peer self;
  self.host = own_host_name();
  if (launched.kind == LaunchEnvironment::Kind::mpi) {
    const std::unique_ptr<MpiJob> mpi = join_mpi_job();
    return decline(mpi->rank(), mpi->size(), meet_by_mpi(*mpi), self, why, kSecondsToDecline);
  }
  const MeetingPoint point = meet_by_address(launched, "");
  return decline(launched.rank, launched.size, point, self, why, kSecondsToDecline);
}

RankGroup::~RankGroup() {
  const std::lock_guard lock(on_gpu_mutex_);
  on_gpu_.reset();
}

void RankGroup::find_neighbours() {
  const Peer& self = watch_->peers()[static_cast<size_t>(rank_)];
  std::vector<CoreShare> machine;
  for (int r = 0; r < size_; ++r) {
    const Peer& peer = watch_->peers()[static_cast<size_t>(r)];
    if (peer.host != self.host) continue;
    if (r == rank_) local_rank_ = static_cast<int>(machine.size());
    machine.push_back(peer.cores);
  }
  local_size_ = static_cast<int>(machine.size());
  threads_ = threads_among(static_cast<size_t>(local_rank_), machine);
  if (self.local_rank >= 0) local_rank_ = self.local_rank;
}

std::string RankGroup::name(int rank) const {
  const std::string host = watch_ ? watch_->peers()[static_cast<size_t>(rank)].host : own_host_name();
  return "rank " + std::to_string(rank) + " on " + host;
}

Communicator& RankGroup::on(Device device) {
  if (device.kind == DeviceKind::cpu || !is_several()) return *communicator_;
  if (!on_gpu_) {
    auto made = std::make_unique<NcclCommunicator>(open_nccl(), *communicator_, *watch_, device);
    const std::lock_guard lock(on_gpu_mutex_);
    on_gpu_ = std::move(made);
  }
  return *on_gpu_;
}

// From the watch's thread: the GPU is freed of what waits for a lost rank.
void RankGroup::abort_on_gpu() {
  const std::lock_guard lock(on_gpu_mutex_);
  if (on_gpu_) on_gpu_->abort();
}

void RankGroup::set_step(int64_t step) {
  if (watch_) watch_->set_step(step);
}

void RankGroup::set_deadline(double seconds) {
  if (watch_) watch_->set_deadline(seconds);
}

void RankGroup::set_patience(double seconds) {
  if (watch_) watch_->set_patience(seconds);
}

void RankGroup::leave() {
  if (!watch_) return;
  if (on_gpu_) on_gpu_->finish();
  communicator_->barrier("the end");
  {
    const std::lock_guard lock(on_gpu_mutex_);
    on_gpu_.reset();
  }
  watch_->leave();
  communicator_.reset();
  if (mpi_) mpi_->finish();
}

void RankGroup::fail(const std::string& why) {
  if (watch_) watch_->fail(why);
}

}  // namespace gorgon
