#include "trainer/run_states.h"

#include "trainer/heads_file.h"

namespace gorgon {

void RunStates::load_heads(const std::filesystem::path& checkpoint) {
  trainer_.finish_weights();
  const auto spread = [&](const NamedState& state, const std::byte* bytes) {
    exchange_.spread(state, bytes);
  };
  if (is_first()) return gorgon::load_heads(checkpoint / kHeadsFile, trainer_.heads(), spread);
  for (const NamedState& state : head_states(trainer_.heads())) spread(state, nullptr);
}

void RunStates::load(const std::filesystem::path& checkpoint) {
  load_heads(checkpoint);
  const auto spread = [&](const NamedState& state, const std::byte* bytes) {
    exchange_.spread(state, bytes);
  };
  if (is_first()) return load_optimizer(checkpoint / kOptimizerFile, trainer_.optimizer_state(), spread);
  for (const NamedState& state : trainer_.optimizer_state()) spread(state, nullptr);
}

void RunStates::save_heads(const std::filesystem::path& directory, const Metadata& metadata) {
  trainer_.finish_weights();
  gorgon::save_heads(directory / kHeadsFile, trainer_.heads(), metadata,
                     [&](const NamedState& state) { return exchange_.gather(state); });
}

void RunStates::save(const std::filesystem::path& directory, const Metadata& metadata) {
  save_heads(directory, metadata);
  save_optimizer(directory / kOptimizerFile, trainer_.optimizer_state(),
                 [&](const NamedState& state) { return exchange_.gather(state); });
}

void RunStates::follow(bool with_optimizer) {
  trainer_.finish_weights();
  for (const NamedState& state : head_states(trainer_.heads())) exchange_.gather(state);
  if (!with_optimizer) return;
  for (const NamedState& state : trainer_.optimizer_state()) exchange_.gather(state);
}

MedusaHeads RunStates::gather_heads(const WeightMatrix& lm_head, DType type) {
  MedusaHeads& mine = trainer_.heads();
  MedusaHeads whole = MedusaHeads::initialise(mine.options, lm_head, mine.vocab_ids, type, 0, stream_);
  const std::vector<NamedState> parts = head_states(mine), to = head_states(whole);
  for (size_t i = 0; i < parts.size(); ++i) {
    const ConstView all = exchange_.gather(parts[i]);
    copy_bytes(to[i].view.device, to[i].view.data, all.device, all.data, bytes_of(all.type, all.elements()));
  }
  return whole;
}

}  // namespace gorgon
