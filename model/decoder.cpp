#include "model/decoder.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"
#include "model/token_tree.h"

namespace gorgon {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

// Rows of f32 logits on the host: those of the tensor itself on the CPU, which must stay, a copy elsewhere.
class Decoder::HostLogits {
 public:
  explicit HostLogits(const Tensor& logits) : width_(logits.shape()[1]) {
    if (logits.device() != Device{}) copy_ = logits.to(Device{});
    values_ = (copy_.empty() ? logits : copy_).as<float>();
  }
  std::span<const float> rows(int64_t begin, int64_t count) const {
    return {values_ + begin * width_, static_cast<size_t>(count * width_)};
  }
  std::span<const float> row(int64_t i) const { return rows(i, 1); }

 private:
  int64_t width_;
  Tensor copy_;
  const float* values_;
};

// One answer in the making. `text` is the prompt and what was emitted; the root comes behind it.
struct Decoder::Slot {
  DecodeRequest request;
  std::unique_ptr<KvCache> cache;
  std::vector<int32_t> text;
  Answer answer;
  int32_t root = 0;
  TopTwo root_choice;
  std::vector<std::vector<int32_t>> candidates;  // [depth][ranks] of the heads
  TokenTree tree{0};
  std::vector<float> top, margin;  // of the tokens that the step at work emits
  bool done = false;
};

Decoder::Decoder(const Backbone& backbone, const DraftHeads* heads, DecoderOptions options,
                 const Stream& stream)
    : backbone_(backbone),
      heads_(heads),
      options_(std::move(options)),
      stream_(stream),
      logits_(DType::f32, {0, 0}, stream.device()),
      draft_logits_(DType::f32, {0, 0}, stream.device()) {
  require(options_.tree.depth() <= (heads == nullptr ? 0 : heads->count()), "Decoder",
          "a tree deeper than K");
  require(options_.max_new_tokens > 0, "Decoder", "a cap above 0");
}

Decoder::~Decoder() = default;

Decoder::HostLogits Decoder::logits_of(ConstView states) {
  logits_.resize({states.rows(), backbone_.config().vocab_size});
  backbone_.logits(states, logits_.view(), stream_);
  return HostLogits(logits_);
}

void Decoder::choose_root(Slot& slot, std::span<const float> logits) const {
  slot.root_choice = top_two(logits);
  slot.root = slot.root_choice.id;
  if (options_.temperature > 0) {
    const double uniform = draw_uniform(options_.seed, slot.request.id, slot.answer.tokens.size());
    slot.root = sample(logits, options_.temperature, options_.top_p, uniform);
  }
}

// The prompt's last token is always computed: the answer begins with its state.
void Decoder::recall(Slot& slot, int64_t room) const {
  KeptText* kept = slot.request.kept;
  if (kept == nullptr || kept->cache == nullptr) {
    slot.cache = std::make_unique<KvCache>(backbone_.config(), backbone_.compute(), room, stream_.device());
    return;
  }
  const std::vector<int32_t>& prompt = slot.request.prompt;
  const auto most = static_cast<std::ptrdiff_t>(std::min(prompt.size() - 1, kept->tokens.size()));
  const auto common =
      std::mismatch(prompt.begin(), prompt.begin() + most, kept->tokens.begin()).first - prompt.begin();
  kept->tokens.clear();
  slot.cache = std::move(kept->cache);
  slot.cache->truncate(common);
  slot.cache->reserve(room, stream_);
}

void Decoder::prefill(Slot& slot) {
  const auto start = Clock::now();
  const auto n = static_cast<int64_t>(slot.request.prompt.size());
  const int64_t context_length = backbone_.config().max_position_embeddings;
  if (n == 0 || n >= context_length) {
    fail(ExitCode::data, {"prompt " + std::to_string(slot.request.id), "",
                          "1 to " + std::to_string(context_length - 1) + " tokens", std::to_string(n),
                          "shorten or remove it"});
  }
  slot.text = slot.request.prompt;
  const int64_t drafted = options_.tree.nodes() + (options_.lookup ? options_.lookup_options.max_tokens : 0);
  const int64_t room = std::min(context_length, n + options_.max_new_tokens) + drafted;
  recall(slot, room);
  const int64_t known = slot.cache->length(), fresh = n - known;
  BackboneContext context;
  context.positions.resize(static_cast<size_t>(fresh));
  std::iota(context.positions.begin(), context.positions.end(), static_cast<int32_t>(known));
  context.offsets = {0, fresh};
  context.caches = {slot.cache.get()};
  const std::span<const int32_t> prompt = slot.request.prompt;
  const Tensor states = backbone_.forward(prompt.subspan(static_cast<size_t>(known)), context, stream_);
  slot.cache->append(fresh);
  slot.answer.prefilled = fresh;
  const ConstView last = states.view().rows(fresh - 1, fresh);
  choose_root(slot, logits_of(last).row(0));
  Slot* const one[] = {&slot};
  draft(one, last);
  const double seconds = seconds_since(start);
  times_.prefill += seconds;
  slot.answer.prefill_seconds = seconds;
}

void Decoder::draft(std::span<Slot* const> slots, ConstView states) {
  const int depth = options_.tree.depth();
  for (Slot* slot : slots) slot->candidates.assign(static_cast<size_t>(depth), {});
  if (depth == 0) return;
  const int64_t count = std::ssize(slots);
  draft_logits_.resize({depth * count, heads_->outputs()});
  heads_->first_logits(depth, states, draft_logits_.view(), stream_);
  const HostLogits host(draft_logits_);
  stream_.threads().parallel_for(depth * count, [&](int64_t i) {
    auto& tokens = slots[static_cast<size_t>(i % count)]->candidates[static_cast<size_t>(i / count)];
    tokens = top_indices(host.row(i), options_.tree.ranks());
    for (int32_t& token : tokens) token = heads_->token(token);
  });
}

// The tree to verify: nothing of it lies behind the cap or the end of the context.
void Decoder::plant(Slot& slot) const {
  const auto emitted = static_cast<int64_t>(slot.answer.tokens.size());
  const int64_t position = slot.cache->length();  // of the root
  const auto deepest = static_cast<int>(std::min(options_.max_new_tokens - emitted - 1,
                                                 backbone_.config().max_position_embeddings - 1 - position));
  slot.tree = TokenTree(slot.root);
  slot.tree.add_tree(options_.tree, slot.candidates, deepest);
  if (!options_.lookup) return;
  slot.text.push_back(slot.root);
  LookupOptions lookup = options_.lookup_options;
  lookup.max_tokens = std::min(lookup.max_tokens, deepest);
  if (deepest > 0) slot.tree.add_path(prompt_lookup(slot.text, lookup));
  slot.text.pop_back();
}

void Decoder::emit(Slot& slot, std::span<const int32_t> tokens) const {
  Answer& answer = slot.answer;
  size_t count = 0;
  while (count < tokens.size() && !slot.done) {
    const int32_t token = tokens[count];
    answer.tokens.push_back(token);
    answer.top_logit.push_back(slot.top[count]);
    answer.margin.push_back(slot.margin[count]);
    slot.text.push_back(token);
    ++count;
    answer.stopped = std::find(options_.stop_tokens.begin(), options_.stop_tokens.end(), token) !=
                     options_.stop_tokens.end();
    slot.done = answer.stopped || std::cmp_greater_equal(answer.tokens.size(), options_.max_new_tokens) ||
                std::cmp_greater_equal(slot.text.size(), backbone_.config().max_position_embeddings);
  }
  answer.emitted.push_back(static_cast<int32_t>(count));
  if (listener_ != nullptr && *listener_) (*listener_)(slot.request, tokens.first(count));
}

void Decoder::step(std::vector<std::unique_ptr<Slot>>& slots) {
  const auto start = Clock::now();
  std::vector<Slot*> active;
  for (const auto& slot : slots) {
    const int32_t root[] = {slot->root};
    const bool ends =
        std::find(options_.stop_tokens.begin(), options_.stop_tokens.end(), root[0]) !=
            options_.stop_tokens.end() ||
        std::cmp_greater_equal(slot->answer.tokens.size() + 1, options_.max_new_tokens) ||
        std::cmp_greater_equal(slot->text.size() + 1, backbone_.config().max_position_embeddings);
    slot->top = {slot->root_choice.top};
    slot->margin = {slot->root_choice.top - slot->root_choice.second};
    if (ends) {
      slot->answer.offered.push_back(0);
      emit(*slot, root);
    } else {
      plant(*slot);
      active.push_back(slot.get());
    }
  }
  if (!active.empty()) verify(active, start);
}

void Decoder::verify(const std::vector<Slot*>& slots, std::chrono::steady_clock::time_point start) {
  std::vector<int32_t> tokens;
  std::vector<TreeBuffers> trees;
  BackboneContext context;
  context.offsets = {0};
  for (Slot* slot : slots) {
    trees.push_back(tree_buffers(slot->tree.parent));
    tokens.insert(tokens.end(), slot->tree.tokens.begin(), slot->tree.tokens.end());
    const auto length = static_cast<int32_t>(slot->cache->length());
    for (const int32_t depth : trees.back().depth) context.positions.push_back(length + depth);
    context.offsets.push_back(static_cast<int64_t>(tokens.size()));
    context.caches.push_back(slot->cache.get());
    context.trees.push_back(trees.back().mask);
  }
  const auto before = Clock::now();
  const Tensor states = backbone_.forward(tokens, context, stream_);
  const HostLogits logits = logits_of(states.view());
  const auto after = Clock::now();

  std::vector<Slot*> going_on;
  std::vector<int32_t> last_rows;  // of `states`, one for each slot that goes on
  for (size_t s = 0; s < slots.size(); ++s) {
    const int32_t last = accept(*slots[s], trees[s], logits.rows(context.offsets[s], trees[s].nodes()));
    if (slots[s]->done) continue;
    going_on.push_back(slots[s]);
    last_rows.push_back(static_cast<int32_t>(context.offsets[s]) + last);
  }
  const auto heads_start = Clock::now();
  if (!going_on.empty() && options_.tree.depth() > 0) {
    const Shape shape = {std::ssize(last_rows), states.shape()[1]};
    Tensor next(states.type(), shape, stream_.device());
    gather_rows(states.view(), Tensor::of(last_rows, {shape[0]}, stream_.device()).view(), next.view(),
                stream_);
    draft(going_on, next.view());
  }
  const double total = seconds_since(start), heads = seconds_since(heads_start);
  const double backbone = std::chrono::duration<double>(after - before).count();
  times_.backbone += backbone;
  times_.heads += heads;
  times_.rest += total - heads - backbone;
  ++times_.steps;
  for (Slot* slot : slots) slot->answer.decode_seconds += total;
}

int32_t Decoder::accept(Slot& slot, const TreeBuffers& tree, std::span<const float> logits) {
  const int64_t nodes = tree.nodes();
  const size_t width = logits.size() / static_cast<size_t>(nodes);
  const auto row = [&](int32_t node) { return logits.subspan(static_cast<size_t>(node) * width, width); };
  std::vector<TopTwo> choices(static_cast<size_t>(nodes));
  stream_.threads().parallel_for(
      nodes, [&](int64_t i) { choices[static_cast<size_t>(i)] = top_two(row(static_cast<int32_t>(i))); });
  std::vector<int32_t> path;
  if (options_.temperature > 0) {
    path = accept_typical(tree, slot.tree.tokens, logits, {options_.temperature});
  } else {
    std::vector<int32_t> ids;
    for (const TopTwo& choice : choices) ids.push_back(choice.id);
    path = accept_greedy(tree, slot.tree.tokens, ids);
  }
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < path.size(); ++i) {
    tokens.push_back(slot.tree.tokens[static_cast<size_t>(path[i])]);
    if (i == 0) continue;
    const TopTwo& choice = choices[static_cast<size_t>(path[i - 1])];
    slot.top.push_back(choice.top);
    slot.margin.push_back(choice.top - choice.second);
  }
  slot.cache->keep(path, stream_);
  slot.answer.offered.push_back(static_cast<int32_t>(nodes));
  emit(slot, tokens);
  if (!slot.done) choose_root(slot, row(path.back()));
  return path.back();
}

// The cache may end before the answer does, by the root that ended it, or behind it, where more was accepted
// than was emitted.
void Decoder::keep(Slot& slot) {
  slot.cache->truncate(std::min(slot.cache->length(), std::ssize(slot.text)));
  slot.text.resize(static_cast<size_t>(slot.cache->length()));
  *slot.request.kept = {std::move(slot.text), std::move(slot.cache)};
}

void Decoder::run(const Source& source, int64_t batch, const Sink& sink, const Listener& listener) {
  listener_ = &listener;
  std::vector<std::unique_ptr<Slot>> slots;
  try {
    serve(slots, source, batch, sink);
  } catch (const Stopped&) {
    for (auto& slot : slots) {
      if (slot->request.kept != nullptr && slot->cache != nullptr) keep(*slot);
    }
    throw;
  }
}

void Decoder::serve(std::vector<std::unique_ptr<Slot>>& slots, const Source& source, int64_t batch,
                    const Sink& sink) {
  bool more = true;
  while (more || !slots.empty()) {
    while (more && std::ssize(slots) < batch) {
      auto slot = std::make_unique<Slot>();
      more = source(slot->request);
      if (!more) break;
      slots.push_back(std::move(slot));
      prefill(*slots.back());
    }
    if (slots.empty()) break;
    step(slots);
    for (auto& slot : slots) {
      if (!slot->done) continue;
      if (slot->request.kept != nullptr) keep(*slot);
      sink(slot->request, slot->answer);
    }
    std::erase_if(slots, [](const auto& slot) { return slot->done; });
  }
}

Answer Decoder::answer(const std::vector<int32_t>& prompt, const Listener& listener, KeptText* kept) {
  Answer answer;
  bool given = false;
  run(
      [&](DecodeRequest& request) {
        request.prompt = prompt;
        request.kept = kept;
        return !std::exchange(given, true);
      },
      1, [&](const DecodeRequest&, Answer& done) { answer = std::move(done); }, listener);
  return answer;
}

}  // namespace gorgon
