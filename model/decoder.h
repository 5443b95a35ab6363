#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/acceptance.h"
#include "model/backbone.h"
#include "model/draft_heads.h"
#include "model/draft_tree.h"
#include "model/prompt_lookup.h"

namespace gorgon {

struct DecoderOptions {
  DraftTree tree;       // of the heads; one node = no heads
  bool lookup = false;  // also draft by prompt lookup
  LookupOptions lookup_options;
  int64_t max_new_tokens = 128;      // the cap
  std::vector<int32_t> stop_tokens;  // end-of-sequence and end-of-turn; the one met is part of the answer
  double temperature = 0;            // 0 = greedy
  double top_p = 1;                  // of the root, at a temperature
  uint64_t seed = 0;
};

// One answer and how it came about.
struct Answer {
  std::vector<int32_t> tokens;   // up to and with a stop token, or to the cap
  std::vector<int32_t> emitted;  // tokens of each step: the root and the accepted ones, cut at the end
  std::vector<int32_t> offered;  // nodes verified in each step; 0 where the root ended the answer
  // Per token, where it was chosen as an argmax: the largest logit and its distance to the second.
  std::vector<float> top_logit, margin;
  bool stopped = false;                            // by a stop token, not by the cap
  int64_t prefilled = 0;                           // tokens of the prompt that were not kept from before
  double prefill_seconds = 0, decode_seconds = 0;  // batch 1: of this answer alone; else of its batch
};

// Where the time of a decoder went, over all its steps.
struct DecodeTimes {
  double prefill = 0, backbone = 0, heads = 0, rest = 0;  // seconds
  int64_t steps = 0;                                      // forwards of the backbone
};

// A text whose keys and values are kept from one answer to the next: that of a chat.
struct KeptText {
  std::vector<int32_t> tokens;  // those that `cache` holds
  std::unique_ptr<KvCache> cache;
};

struct DecodeRequest {
  uint64_t id = 0;  // of the sequence; drives its random draws
  std::vector<int32_t> prompt;
  // Or nullptr. What it and the prompt begin with in common is not computed again; afterwards it holds prompt
  // and answer. The answer is the same (f32), whatever it held. Borrowed, by one request at a time.
  KeptText* kept = nullptr;
};

// Decodes as the serving engines do: one forward of the backbone over a tree of tokens a sequence and step,
// the longest right row accepted, its keys and values moved up behind the prefix, the heads run on the one
// state that the next step starts from. Greedy in f32 it emits exactly what plain decoding emits, whatever
// the tree, the drafts and the batch: every row of the backbone is the same to the bit alone or in company.
//
// A step begins with the root, chosen from the state before it, and with drafts from that same state. It
// verifies them all and emits the root and the accepted tokens. A root that is a stop token, or the last one
// under the cap, ends the answer without a forward and still counts as a step.
class Decoder {
 public:
  // heads may be null where the tree has one node. All must outlive the decoder.
  Decoder(const Backbone& backbone, const DraftHeads* heads, DecoderOptions options, const Stream& stream);
  ~Decoder();

  // Next request into `request`, or false when there are no more.
  using Source = std::function<bool(DecodeRequest& request)>;
  using Sink = std::function<void(const DecodeRequest& request, Answer& answer)>;
  // Called after each step with the new tokens of a sequence; the first is the root.
  using Listener = std::function<void(const DecodeRequest& request, std::span<const int32_t> tokens)>;

  // Answers all requests, `batch` at a time; a finished one makes place for the next. Throws Error(data) for
  // an empty prompt and for one that leaves no token of the context free, Stopped at a stop point of the
  // stream: `kept` then holds what was computed of prompt and answer, and the listener has heard the answer
  // so far.
  void run(const Source& source, int64_t batch, const Sink& sink, const Listener& listener = {});
  Answer answer(const std::vector<int32_t>& prompt, const Listener& listener = {}, KeptText* kept = nullptr);

  const DecodeTimes& times() const { return times_; }

 private:
  struct Slot;
  class HostLogits;

  // `slots` are those at work: empty at the end.
  void serve(std::vector<std::unique_ptr<Slot>>& slots, const Source& source, int64_t batch,
             const Sink& sink);
  void prefill(Slot& slot);
  void recall(Slot& slot, int64_t room) const;  // gives the slot its cache and what it holds of the prompt
  void step(std::vector<std::unique_ptr<Slot>>& slots);
  void verify(const std::vector<Slot*>& slots, std::chrono::steady_clock::time_point start);
  int32_t accept(Slot& slot, const TreeBuffers& tree, std::span<const float> logits);  // the last node kept
  void draft(std::span<Slot* const> slots, ConstView states);
  HostLogits logits_of(ConstView states);  // the backbone's; until the next call
  void choose_root(Slot& slot, std::span<const float> logits) const;
  static void keep(Slot& slot);  // for the next answer to go on from
  void emit(Slot& slot, std::span<const int32_t> tokens) const;
  void plant(Slot& slot) const;

  const Backbone& backbone_;
  const DraftHeads* heads_;
  DecoderOptions options_;
  const Stream& stream_;
  DecodeTimes times_;
  const Listener* listener_ = nullptr;
  // f32, of a step. Kept from step to step: memory that is given back comes again as pages to be cleared.
  Tensor logits_, draft_logits_;
};

}  // namespace gorgon
