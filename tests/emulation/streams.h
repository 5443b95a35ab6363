#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/emulation/device_memory.h"

// The emulated device's streams (device_memory.h says in which order they run): what cuda_runtime.cpp puts
// CUDA's names to.
namespace gorgon::emulation {

// What a stream does next: work, or to wait until another stream has done so many pieces.
struct Piece {
  std::function<void()> work;
  StreamState* other = nullptr;
  int64_t position = 0;
};

struct Graph {
  std::vector<Piece> work;
};

struct StreamState {
  std::deque<Piece> pending;
  int64_t born = 0;                // streams made before it
  int64_t asked = 0;               // pieces of work since the beginning
  std::atomic<int64_t> done{0};    // those that are at their end; other threads ask
  std::unique_ptr<Graph> capture;  // work goes here while it is there
  bool broken = false;             // something was done that a capture forbids
  // Of events: the device's time when so many pieces are done.
  std::multimap<int64_t, std::shared_ptr<double>> times;
};

struct EventState {
  StreamState* stream = nullptr;
  int64_t position = 0;  // pieces of work before it
  std::shared_ptr<double> time = std::make_shared<double>(0);
};

StreamState* create_stream();
void destroy_stream(StreamState* stream);  // when it has done all
void put(StreamState* stream, Piece piece);
void run_until(StreamState& stream, int64_t position);
void run_all();
void go_ahead();  // streams that go ahead do all that they need not wait for

EventState event_of(StreamState* stream);         // behind what the stream has to do now
bool has_happened(const EventState& event);       // from any thread
StreamState* stream_of(const EventState& event);  // nullptr where it is gone, or the event is of none
void wait_for(const EventState& event);           // of a stream that is there

bool can_capture();
// Of calls that a stream must not see while it is captured (nullptr: no stream must): whether one was, whose
// capture is broken then.
bool breaks_capture(StreamState* stream);

}  // namespace gorgon::emulation
