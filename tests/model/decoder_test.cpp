#include "model/decoder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "model/accepted_length.h"
#include "model/tree_construction.h"
#include "model/tree_file.h"
#include "tests/model/random_trees.h"
#include "tests/model/temporary_heads.h"
#include "tests/model/tiny_model.h"

namespace gorgon {
namespace {

constexpr int kHeads = 3;

// Plain greedy decoding without any cache: the whole text through the backbone for every token.
std::vector<int32_t> plain_reference(const Backbone& backbone, std::vector<int32_t> text, int64_t cap,
                                     int32_t stop, const Stream& stream) {
  std::vector<int32_t> answer;
  while (std::cmp_less(answer.size(), cap) && (answer.empty() || answer.back() != stop)) {
    BackboneContext context;
    context.positions.resize(text.size());
    std::iota(context.positions.begin(), context.positions.end(), 0);
    context.offsets = {0, std::ssize(text)};
    const Tensor states = backbone.forward(text, context, stream);
    Tensor logits(DType::f32, {1, backbone.config().vocab_size});
    backbone.logits(states.view().rows(std::ssize(text) - 1, std::ssize(text)), logits.view(), stream);
    answer.push_back(argmax({logits.as<float>(), static_cast<size_t>(logits.elements())}));
    text.push_back(answer.back());
  }
  return answer;
}

class DecoderTest : public testing::Test {
 protected:
  DecoderTest() : model_(17), backbone_(model_.weights(), DType::f32), stream_(Device{}, 2) {
    file_.add_heads(model_, kHeads);
    heads_.emplace(DraftHeads::load(file_.write(), model_.weights().lm_head, DType::f32, stream_));
    for (int i = 0; i < 30; ++i) prompts_.push_back(model_.prompt(1 + i % 20));
  }

  DecoderOptions options(DraftTree tree, bool lookup) const {
    DecoderOptions o;
    o.tree = std::move(tree);
    o.lookup = lookup;
    o.max_new_tokens = 30;
    o.stop_tokens = {3};
    return o;
  }
  std::map<uint64_t, Answer> answers(const DecoderOptions& options, int64_t batch) {
    return answers(backbone_, *heads_, options, batch, stream_);
  }
  std::map<uint64_t, Answer> answers(const Backbone& backbone, const DraftHeads& heads,
                                     const DecoderOptions& options, int64_t batch, const Stream& stream) {
    Decoder decoder(backbone, &heads, options, stream);
    std::map<uint64_t, Answer> found;
    uint64_t next = 0;
    decoder.run(
        [&](DecodeRequest& request) {
          if (next == prompts_.size()) return false;
          request = {next, prompts_[next]};
          ++next;
          return true;
        },
        batch, [&](const DecodeRequest& request, Answer& answer) { found[request.id] = answer; });
    return found;
  }
  // The answer's tokens as the heads see them: ranks of tokens[i + k] from the state before tokens[i].
  Continuation continuation(const std::vector<int32_t>& prompt, const std::vector<int32_t>& tokens) {
    Continuation c;
    c.tokens = tokens;
    std::vector<int32_t> text = prompt;
    text.insert(text.end(), tokens.begin(), tokens.end());
    BackboneContext context;
    context.positions.resize(text.size());
    std::iota(context.positions.begin(), context.positions.end(), 0);
    context.offsets = {0, std::ssize(text)};
    const Tensor states = backbone_.forward(text, context, stream_);
    Tensor logits(DType::f32, {1, heads_->outputs()});
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto at = std::ssize(prompt) - 1 + static_cast<int64_t>(i);
      for (int k = 0; k < kHeads; ++k) {
        heads_->logits(k, states.view().rows(at, at + 1), logits.view(), stream_);
        const size_t target = i + static_cast<size_t>(k) + 1;
        c.ranks.push_back(
            target < tokens.size()
                ? heads_->rank({logits.as<float>(), static_cast<size_t>(logits.elements())}, tokens[target])
                : -1);
      }
    }
    return c;
  }

  TinyModel model_;
  Backbone backbone_;
  Stream stream_;
  TemporaryHeads file_;
  std::optional<DraftHeads> heads_;
  std::vector<std::vector<int32_t>> prompts_;
};

TEST_F(DecoderTest, PlainEqualsDecodingWithoutACache) {
  const auto plain = answers(options(chain_tree(0), false), 1);
  std::set<std::vector<int32_t>> distinct;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const Answer& answer = plain.at(i);
    EXPECT_EQ(answer.tokens, plain_reference(backbone_, prompts_[i], 30, 3, stream_)) << i;
    EXPECT_EQ(answer.emitted, std::vector<int32_t>(answer.tokens.size(), 1));
    EXPECT_EQ(answer.stopped, answer.tokens.back() == 3);
    distinct.insert(answer.tokens);
  }
  EXPECT_GT(distinct.size(), 15u);  // the model is no constant
}

TEST_F(DecoderTest, AnyTreeDraftAndBatchGivesTheSameTokens) {
  const auto plain = answers(options(chain_tree(0), false), 1);
  RandomTrees random(6);
  for (const int64_t batch : {1, 7}) {
    for (const DraftTree& tree :
         {chain_tree(0), chain_tree(kHeads), random.tree(40, kHeads, 8), random.tree(90, kHeads, 20)}) {
      for (const bool lookup : {false, true}) {
        int64_t accepted = 0;
        const auto found = answers(options(tree, lookup), batch);
        ASSERT_EQ(found.size(), prompts_.size());
        for (const auto& [id, answer] : found) {
          ASSERT_EQ(answer.tokens, plain.at(id).tokens) << "prompt " << id << " batch " << batch;
          ASSERT_EQ(answer.top_logit, plain.at(id).top_logit);
          accepted += std::ssize(answer.tokens) - std::ssize(answer.emitted);
        }
        if (tree.nodes() > 30 || lookup) {
          EXPECT_GT(accepted, 25) << tree.nodes() << lookup;  // drafts did take part
        }
      }
    }
  }
}

// The tree of the reference implementation: 64 nodes, four heads deep.
TEST_F(DecoderTest, TheReferencesTreeGivesTheSameTokens) {
  TemporaryHeads file;
  file.add_heads(model_, 4);
  const DraftHeads heads = DraftHeads::load(file.write(), model_.weights().lm_head, DType::f32, stream_);
  const DraftTree tree = read_tree(GORGON_TEST_DATA "/decoding/mc_sim_7b_63.json", heads.count()).tree;
  const auto plain = answers(options(chain_tree(0), false), 1);
  const auto drafted = answers(backbone_, heads, options(tree, false), 4, stream_);
  size_t accepted = 0;
  for (const auto& [id, answer] : plain) {
    EXPECT_EQ(drafted.at(id).tokens, answer.tokens) << id;
    accepted += answer.tokens.size() - drafted.at(id).emitted.size();
  }
  EXPECT_GT(accepted, 100u) << "drafts took no part";
}

TEST_F(DecoderTest, SimulatedWalkEqualsTheStepsTaken) {
  RandomTrees random(14);
  for (const DraftTree& tree : {chain_tree(kHeads), random.tree(30, kHeads, 6)}) {
    const TreeMatcher matcher(tree);
    for (const bool lookup : {false, true}) {
      const DecoderOptions o = options(tree, lookup);
      const auto found = answers(o, 3);
      for (const auto& [id, answer] : found) {
        const Continuation c = continuation(prompts_[id], answer.tokens);
        const auto walk = simulate_walk(c.length(), [&](int64_t i) {
          const int64_t by_heads = matcher.accepted(c.ranks_at(i, kHeads));
          if (!lookup) return by_heads;
          std::vector<int32_t> text = prompts_[id];
          text.insert(text.end(), c.tokens.begin(), c.tokens.begin() + i + 1);
          const auto copy = prompt_lookup(text, o.lookup_options);
          int64_t copied = 0;
          while (copied < std::ssize(copy) && i + 1 + copied < c.length() &&
                 copy[static_cast<size_t>(copied)] == c.tokens[static_cast<size_t>(i + 1 + copied)]) {
            ++copied;
          }
          return std::max(by_heads, copied);
        });
        ASSERT_EQ(answer.emitted, walk) << id;
      }
    }
  }
}

TEST_F(DecoderTest, ColdTypicalAcceptanceEqualsGreedy) {
  DecoderOptions o = options(RandomTrees(3).tree(30, kHeads, 6), true);
  const auto greedy = answers(o, 1);
  o.temperature = 1e-5;
  for (const auto& [id, answer] : answers(o, 1)) EXPECT_EQ(answer.tokens, greedy.at(id).tokens);
}

TEST_F(DecoderTest, SeedsDecideTheDraws) {
  DecoderOptions o = options(chain_tree(kHeads), false);
  o.temperature = 1.5;
  o.seed = 1;
  const auto first = answers(o, 1), again = answers(o, 7);
  o.seed = 2;
  const auto other = answers(o, 1);
  int differ = 0;
  for (const auto& [id, answer] : first) {
    EXPECT_EQ(answer.tokens, again.at(id).tokens);  // whatever the batch
    differ += answer.tokens != other.at(id).tokens ? 1 : 0;
  }
  EXPECT_GT(differ, 20);
}

TEST_F(DecoderTest, TheContextEndsAnAnswer) {
  DecoderOptions o = options(chain_tree(kHeads), true);
  o.max_new_tokens = 1000;
  o.stop_tokens = {};
  Decoder decoder(backbone_, &*heads_, o, stream_);
  EXPECT_EQ(decoder.answer(model_.prompt(90)).tokens.size(), 6u);
  const Answer longest = decoder.answer(model_.prompt(95));
  EXPECT_EQ(longest.tokens.size(), 1u);
  EXPECT_THROW(decoder.answer(model_.prompt(96)), Error);
  EXPECT_THROW(decoder.answer({}), Error);
}

TEST_F(DecoderTest, ListenerHearsEveryToken) {
  Decoder decoder(backbone_, &*heads_, options(chain_tree(kHeads), true), stream_);
  std::vector<int32_t> heard;
  const Answer answer =
      decoder.answer(prompts_[5], [&](const DecodeRequest&, std::span<const int32_t> tokens) {
        heard.insert(heard.end(), tokens.begin(), tokens.end());
      });
  EXPECT_EQ(heard, answer.tokens);
  EXPECT_GT(decoder.times().steps, 0);
}

// A chat's turns: what is kept may be gone on from, cut anywhere, too small or of no use; the answer and
// every logit are those of a decoder that starts anew.
TEST_F(DecoderTest, KeptTextsChangeNoAnswer) {
  for (const bool lookup : {false, true}) {
    DecoderOptions o = options(RandomTrees(6).tree(40, kHeads, 8), lookup);
    o.max_new_tokens = 9;
    Decoder decoder(backbone_, &*heads_, o, stream_);
    KeptText kept;
    for (const auto& first : std::span(prompts_).first(10)) {
      const size_t from = kept.tokens.size();
      std::vector<int32_t> turn = first;
      for (const int change : {-1, -1, 2, 0}) {  // the place that a template writes anew
        if (change >= 0 && std::cmp_less(change, turn.size())) turn[static_cast<size_t>(change)] ^= 1;
        const auto before = kept.tokens;
        const Answer answer = decoder.answer(turn, {}, &kept), anew = decoder.answer(turn);
        ASSERT_EQ(answer.tokens, anew.tokens);
        ASSERT_EQ(answer.top_logit, anew.top_logit);
        ASSERT_EQ(answer.emitted, anew.emitted);
        const auto end = turn.begin() + std::ssize(turn) - 1;
        const auto common = std::mismatch(turn.begin(), end, before.begin(), before.end()).first;
        EXPECT_EQ(answer.prefilled, turn.end() - common);
        EXPECT_EQ(anew.prefilled, std::ssize(turn));
        EXPECT_EQ(std::ssize(kept.tokens), kept.cache->length());
        EXPECT_GE(kept.tokens.size() + 1, turn.size() + answer.tokens.size());
        turn.insert(turn.end(), answer.tokens.begin(), answer.tokens.end());
        turn.push_back(static_cast<int32_t>(from % 24));  // what the user says next
      }
    }
  }
}

TEST_F(DecoderTest, ARefusedPromptLeavesWhatIsKept) {
  Decoder decoder(backbone_, &*heads_, options(chain_tree(kHeads), false), stream_);
  KeptText kept;
  decoder.answer(prompts_[9], {}, &kept);
  const auto before = kept.tokens;
  EXPECT_THROW(decoder.answer(model_.prompt(96), {}, &kept), Error);
  EXPECT_EQ(kept.tokens, before);
  EXPECT_EQ(decoder.answer(prompts_[9], {}, &kept).prefilled, 1);
}

// Stopped between any two layers: what was said is the beginning of the answer, and what is kept serves the
// next one.
TEST_F(DecoderTest, AStoppedAnswerKeepsWhatWasComputed) {
  int64_t layers = 0;  // that may still begin
  StreamOptions stoppable;
  stoppable.threads = 2;
  stoppable.stop_wanted = [&layers] { return layers-- <= 0; };
  const Stream stopping(Device{}, std::move(stoppable));
  const std::vector<int32_t>& prompt = prompts_[9];
  Decoder decoder(backbone_, &*heads_, options(RandomTrees(6).tree(40, kHeads, 8), true), stopping);
  layers = 1 << 20;
  const Answer whole = decoder.answer(prompt);
  ASSERT_GT(whole.emitted.size(), 4u);
  for (int64_t stop = 0; stop < 2 * std::ssize(whole.emitted) - 2; stop += stop < 7 ? 1 : 5) {
    std::vector<int32_t> heard;
    KeptText kept;
    layers = stop;
    const auto listen = [&](const DecodeRequest&, std::span<const int32_t> tokens) {
      heard.insert(heard.end(), tokens.begin(), tokens.end());
    };
    EXPECT_THROW(decoder.answer(prompt, listen, &kept), Stopped);
    ASSERT_LE(heard.size(), whole.tokens.size());
    EXPECT_TRUE(std::equal(heard.begin(), heard.end(), whole.tokens.begin()));
    EXPECT_EQ(heard.empty(), stop < 4) << "two layers read the prompt, two more verify the first tree";
    EXPECT_EQ(kept.tokens.size(), stop < 2 ? 0 : prompt.size() + heard.size());
    EXPECT_EQ(kept.cache->length(), std::ssize(kept.tokens));

    layers = 1 << 20;
    std::vector<int32_t> turn = prompt;
    turn.insert(turn.end(), heard.begin(), heard.end());
    turn.push_back(5);
    const Answer next = decoder.answer(turn, {}, &kept), anew = decoder.answer(turn);
    EXPECT_EQ(next.tokens, anew.tokens) << stop;
    EXPECT_EQ(next.top_logit, anew.top_logit) << stop;
    EXPECT_EQ(next.prefilled, stop < 2 ? std::ssize(turn) : 1) << stop;
  }
}

// In bf16 a row alone and a row in company take other kernels and may round another way. So drafts may change
// a token, but only one that rounding decides: its margin is at most twice the largest difference of a logit
// that both ways computed. That difference is bounded too: two layers round a state some twelve times, each
// time by 2^-9 of its size, so that logits move by less than 12 / 512 of the largest one.
TEST_F(DecoderTest, InBf16DraftsChangeNoTokenThatRoundingDoesNotDecide) {
  TinyModel rounded(17);
  rounded.round_to_bf16();
  const Backbone backbone(rounded.weights(), DType::bf16);
  const DraftHeads heads = DraftHeads::load(file_.write(), rounded.weights().lm_head, DType::bf16, stream_);
  const auto decode = [&](const DecoderOptions& o, int64_t batch, const Stream& stream) {
    return answers(backbone, heads, o, batch, stream);
  };
  const auto plain = decode(options(chain_tree(0), false), 1, stream_);
  const DecoderOptions drafting = options(RandomTrees(6).tree(40, kHeads, 8), true);
  const Stream one_thread(Device{}, 1);
  for (const int64_t batch : {1, 7}) {
    const auto drafted = decode(drafting, batch, stream_), again = decode(drafting, batch, one_thread);
    float difference = 0, largest = 0, widest_tie = 0;
    int64_t accepted = 0;
    for (const auto& [id, answer] : drafted) {
      const Answer& alone = plain.at(id);
      EXPECT_EQ(answer.tokens, again.at(id).tokens) << "other threads, prompt " << id;
      EXPECT_EQ(answer.top_logit, again.at(id).top_logit);
      accepted += std::ssize(answer.tokens) - std::ssize(answer.emitted);
      const size_t shorter = std::min(answer.tokens.size(), alone.tokens.size());
      size_t at = 0;
      for (; at < shorter && answer.tokens[at] == alone.tokens[at]; ++at) {
        difference = std::max(difference, std::abs(answer.top_logit[at] - alone.top_logit[at]));
        largest = std::max(largest, std::abs(alone.top_logit[at]));
      }
      if (answer.tokens != alone.tokens) widest_tie = std::max(widest_tie, alone.margin[at]);
    }
    EXPECT_GT(accepted, 100) << "drafts took no part";
    EXPECT_LE(widest_tie, 2 * difference) << "batch " << batch;
    EXPECT_LT(difference, 12.0f / 512 * largest) << "batch " << batch;
  }
}

}  // namespace
}  // namespace gorgon
