#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cores.h"
#include "kernels/error.h"
#include "kernels/ranks/socket.h"

namespace gorgon {

// One process of the job, as the others know it.
struct Peer {
  std::string host;     // its name
  std::string address;  // numeric, as rank 0 saw it; rank 0's own as the others reached it
  int port = 0;         // where it accepts other ranks' data; 0 where MPI carries them
  int local_rank = -1;  // as its launcher says it
  CoreShare cores;      // that it may use
};

// Where ranks meet: rank 0 listens, the others know one of its addresses.
struct MeetingPoint {
  Socket listener;                     // rank 0; not open where it could not listen at `port`
  std::vector<std::string> addresses;  // the others: tried in turn, again and again
  int port = 0;
  // A secret of the job, so that no stranger is let in; empty where nothing could carry it.
  std::string token;
  // What tells this job from another one at the same port, as its ranks say it to a person; named: by the
  // launcher or by GORGON_JOB, so that another name is another job and no mistake.
  std::string job;
  bool job_is_named = false;
};

// How long ranks wait for one another at the start, and what is said meanwhile.
struct MeetingTerms {
  double seconds = 600;
  std::string job;                                   // where neither launcher nor MPI says which job it is
  std::function<void(const std::string&)> say;       // a line for all to see; empty: nothing is said
  std::function<void(const std::string&)> complain;  // the line that this rank will end with, ahead of that
  double first_word = 5, next_words = 30;            // seconds
  double turned_away = 10;  // seconds until a rank that was turned away, and came no better, ends the job
  double strange = 30;      // seconds until what answers otherwise than rank 0 is taken for something else
};

// The others did not come, or turned this rank away.
class NotMet : public Error {
 public:
  NotMet(const std::string& message, bool told) : Error(ExitCode::peer, message), told_(told) {}
  bool told() const { return told_; }  // whether people have been told why, or another rank tells them

 private:
  bool told_;
};

// Who has come, and rank 0's connection to each of the others, or a rank's to rank 0.
struct Meeting {
  std::vector<Peer> peers;  // [size]
  std::vector<std::pair<int, Socket>> connections;
};

// Returns when all ranks have come. Throws NotMet when they have not within terms.seconds, when this one is
// of another job than rank 0 (or of another protocol, or says another number of ranks, or a rank that is
// there), when one declines, when rank 0 cannot listen at its port, or something else does. A rank that is
// turned away may come again in a better way, but for one of another job by its name; where it has not within
// terms.turned_away, all ranks are told why. Rank 0 says who is missing once terms.first_word seconds have
// passed, and again every terms.next_words; as long as rank 0 itself is missing, rank 1 and the first rank of
// every machine say so.
Meeting meet(int rank, int size, const MeetingPoint& point, const Peer& self, const MeetingTerms& terms);

// Instead of meeting: tells the other ranks that this one ended, and why; takes at most `seconds`. A rank 0
// that could not listen at the port does so at one 20,000 away, where the others look as well. Returns
// whether another rank has told people so, so that this one need not.
bool decline(int rank, int size, const MeetingPoint& point, const Peer& self, const std::string& why,
             double seconds);

}  // namespace gorgon
