#include "tests/emulation/streams.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace gorgon::emulation {
namespace {

struct Runtime {
  std::mutex mutex;  // of streams
  std::set<StreamState*> streams;
  std::optional<std::vector<Enqueued>> recording;
  bool graphs = true, dry = false;
  StreamOrder order = StreamOrder::late;
  int64_t born = 0;
  double clock = 0;  // seconds
};
Runtime& runtime() {
  static Runtime instance;
  return instance;
}

bool has_happened(const Piece& piece) {
  return piece.other == nullptr || !runtime().streams.contains(piece.other) ||
         piece.other->done >= piece.position;
}

// Events behind what is done now take the device's time.
void note_time(StreamState& stream) {
  const auto end = stream.times.upper_bound(stream.done);
  for (auto one = stream.times.begin(); one != end; ++one) *one->second = runtime().clock;
  stream.times.erase(stream.times.begin(), end);
}

// A stream that waits does the other's work when it comes to that.
void run_one(StreamState& stream) {
  const Piece piece = std::move(stream.pending.front());
  stream.pending.pop_front();
  try {
    if (!has_happened(piece)) run_until(*piece.other, piece.position);
    if (piece.work) piece.work();
    ++stream.done;
    note_time(stream);
  } catch (...) {  // the hardware would be lost; tests go on
    stream.done = stream.asked;
    stream.pending.clear();
    throw;
  }
}

bool goes_ahead(const StreamState& stream) {
  const auto is_younger = [&](const StreamState* s) { return s->born > stream.born; };
  const auto is_older = [&](const StreamState* s) { return s->born < stream.born; };
  const std::set<StreamState*>& all = runtime().streams;
  switch (runtime().order) {
    case StreamOrder::late:
      return false;
    case StreamOrder::early:
      return true;
    case StreamOrder::oldest_late:
      return std::any_of(all.begin(), all.end(), is_older);
    case StreamOrder::newest_late:
      return std::any_of(all.begin(), all.end(), is_younger);
  }
  return false;
}

}  // namespace

void run_until(StreamState& stream, int64_t position) {
  if (stream.done >= position) return;
  const KernelAccess access;  // opened once for all of it
  while (stream.done < position) run_one(stream);
}

void go_ahead() {
  if (runtime().order == StreamOrder::late) return;
  for (bool any = true; any;) {
    any = false;
    for (StreamState* stream : runtime().streams) {
      if (!goes_ahead(*stream)) continue;
      while (!stream->pending.empty() && has_happened(stream->pending.front())) {
        const KernelAccess access;
        run_one(*stream);
        any = true;
      }
    }
  }
}

void run_all() {
  for (StreamState* stream : runtime().streams) run_until(*stream, stream->asked);
}

bool breaks_capture(StreamState* stream) {
  const auto breaks = [](StreamState& s) {
    s.broken = s.broken || s.capture != nullptr;
    return s.capture != nullptr;
  };
  if (stream != nullptr) return breaks(*stream);
  bool any = false;
  for (StreamState* s : runtime().streams) any = breaks(*s) || any;
  return any;
}

StreamState* create_stream() {
  auto* stream = new StreamState;
  stream->born = runtime().born++;
  const std::lock_guard lock(runtime().mutex);
  runtime().streams.insert(stream);
  return stream;
}

void destroy_stream(StreamState* stream) {
  run_until(*stream, stream->asked);
  const std::lock_guard lock(runtime().mutex);
  runtime().streams.erase(stream);
  delete stream;
}

EventState event_of(StreamState* stream) {
  EventState event{stream, stream->asked};
  stream->times.emplace(event.position, event.time);
  if (stream->done >= event.position) note_time(*stream);
  return event;
}

bool has_happened(const EventState& event) {
  const std::lock_guard lock(runtime().mutex);
  if (event.stream == nullptr || !runtime().streams.contains(event.stream)) return true;
  return event.stream->done >= event.position;
}

StreamState* stream_of(const EventState& event) {
  return runtime().streams.contains(event.stream) ? event.stream : nullptr;
}

void wait_for(const EventState& event) {
  host_calls().waits += event.stream->done < event.position ? 1 : 0;
  run_until(*event.stream, event.position);
  go_ahead();
}

void put(StreamState* stream, Piece piece) {
  if (runtime().recording) runtime().recording->push_back({stream, piece.other != nullptr});
  if (stream->capture != nullptr) return stream->capture->work.push_back(std::move(piece));
  if (runtime().dry) return;
  stream->pending.push_back(std::move(piece));
  ++stream->asked;
  go_ahead();
}

void enqueue(StreamState* stream, std::function<void()> work) {
  put(stream, {std::move(work)});
}

void finish_work(StreamState* stream) {
  run_until(*stream, stream->asked);
  go_ahead();
}

void set_stream_order(StreamOrder order) {
  run_all();
  runtime().order = order;
}

void pass(double seconds) {
  runtime().clock += seconds;
}

void start_recording() {
  runtime().recording.emplace();
}
std::vector<Enqueued> recorded() {
  std::vector<Enqueued> all = std::move(runtime().recording).value();
  runtime().recording.reset();
  return all;
}

void set_graphs(bool available) {
  runtime().graphs = available;
}

bool can_capture() {
  return runtime().graphs;
}

void set_dry(bool dry) {
  runtime().dry = dry;
}
bool is_dry() {
  return runtime().dry;
}

}  // namespace gorgon::emulation
