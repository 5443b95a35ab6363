#include "trainer/rank_agreement.h"

#include <iterator>

#include <fmt/format.h>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

constexpr const char* kSameModel = "give all machines the same model files";

// One text of several values; a value holds no NUL.
std::string joined(const std::vector<NamedValue>& values) {
  std::string text;
  for (const NamedValue& value : values) text += value.value + '\0';
  return text;
}

std::string value_at(const std::string& text, size_t index) {
  size_t begin = 0;
  for (size_t i = 0; i < index; ++i) begin = text.find('\0', begin) + 1;
  return text.substr(begin, text.find('\0', begin) - begin);
}

bool says_where(const std::string& key) {
  return key == "model_path" || key == "train_dataset_path" || key == "eval_dataset_path" ||
         key == "output_dir";
}

template <typename T>
void broadcast(RankGroup& ranks, std::vector<T>& values, const Stream& stream) {
  std::vector<int64_t> size{ranks.is_first() ? std::ssize(values) : 0};
  all_reduce(ranks.host(), size, ReduceOp::max, "sizes of the data");
  values.resize(static_cast<size_t>(size[0]));
  const View view{reinterpret_cast<std::byte*>(values.data()), dtype_of<T>(), {size[0]}, {}, 0};
  ranks.host().broadcast(view, 0, "the data", stream).wait();
}

}  // namespace

void check_same(RankGroup& ranks, const std::vector<NamedValue>& mine, ExitCode code,
                const std::string& remedy) {
  if (!ranks.is_several()) return;
  const std::vector<std::string> all = gather_texts(ranks.host(), joined(mine), "what ranks have in common");
  for (int r = 1; r < ranks.size(); ++r) {
    for (size_t i = 0; i < mine.size() && all[static_cast<size_t>(r)] != all[0]; ++i) {
      const std::string expected = value_at(all[0], i), found = value_at(all[static_cast<size_t>(r)], i);
      if (expected == found || (mine[i].may_be_missing && (expected.empty() || found.empty()))) continue;
      fail(code, {ranks.name(r), mine[i].name, expected + " as on rank 0", found, remedy});
    }
  }
}

void check_same_config(RankGroup& ranks, const RunConfig& config) {
  if (!ranks.is_several()) return;
  std::vector<NamedValue> values{{"version", GORGON_VERSION}};
  for (const ConfigField& field : config_fields()) {
    if (!says_where(field.name)) values.push_back({field.name, field.print(config)});
  }
  check_same(ranks, values, ExitCode::config, "start all ranks with the same program and the same file");
}

void check_same_model(RankGroup& ranks, const ModelWeights& weights) {
  if (!ranks.is_several()) return;
  const ModelConfig& c = weights.config;
  check_same(ranks,
             {{"model fingerprint", weights.fingerprint},
              {"num_hidden_layers", fmt::format("{}", c.num_hidden_layers)},
              {"num_attention_heads", fmt::format("{} ({} of keys, head_dim {})", c.num_attention_heads,
                                                  c.num_key_value_heads, c.head_dim)},
              {"max_position_embeddings", fmt::format("{}", c.max_position_embeddings)},
              {"rms_norm_eps", fmt::format("{}", c.rms_norm_eps)},
              {"rope_theta", fmt::format("{}", c.rope_theta)},
              {"rope_scaling", fmt::format("divisors [{}]", fmt::join(c.rope_factors, " "))},
              {"sliding_window", c.sliding_window ? fmt::format("{}", *c.sliding_window) : "none"}},
             ExitCode::model, kSameModel);
}

void check_same_text(RankGroup& ranks, const Tokenizer& tokenizer) {
  if (!ranks.is_several()) return;
  check_same(ranks,
             {{"tokenizer", "SHA-256 " + tokenizer.sha256()},
              {"chat template", "SHA-256 " + sha256_of(tokenizer.chat_template())}},
             ExitCode::model, kSameModel);
}

void check_same_data(RankGroup& ranks, const std::vector<NamedValue>& files) {
  check_same(ranks, files, ExitCode::data,
             "give all machines the same files, or none but rank 0's, which alone reads them");
}

void broadcast_dataset(RankGroup& ranks, Dataset& dataset) {
  if (!ranks.is_several()) return;
  const Stream host({}, 1);
  broadcast(ranks, dataset.tokens, host);
  broadcast(ranks, dataset.labels, host);
  broadcast(ranks, dataset.segments, host);
  broadcast(ranks, dataset.offsets, host);
}

void broadcast_tokens(RankGroup& ranks, std::vector<std::vector<int32_t>>& lists) {
  if (!ranks.is_several()) return;
  std::vector<int32_t> all;
  std::vector<int64_t> sizes;
  for (const std::vector<int32_t>& list : lists) {
    all.insert(all.end(), list.begin(), list.end());
    sizes.push_back(std::ssize(list));
  }
  const Stream host({}, 1);
  broadcast(ranks, sizes, host);
  broadcast(ranks, all, host);
  lists.clear();
  auto at = all.begin();
  for (const int64_t size : sizes) {
    lists.emplace_back(at, at + size);
    at += size;
  }
}

}  // namespace gorgon
