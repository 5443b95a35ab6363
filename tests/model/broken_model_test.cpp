// Models that cannot be used: the error names file, key or tensor, what was expected and found (status 3).
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "model/model_weights.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"
#include "tests/model/tiny_model_files.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using Parts = std::vector<std::string>;

void expect_model_error(const fs::path& path, const Parts& parts) {
  expect_error([&] { load_model(path, DType::f32, Stream({}, 2)); }, ExitCode::model, parts);
}

TEST(BrokenModel, MissingPathsAndModelIds) {
  expect_model_error("/nowhere/model.gguf",
                     {"/nowhere/model.gguf", "neither a file nor a directory", "check the path"});
  expect_model_error("HuggingFaceTB/SmolLM2-135M-Instruct",
                     {"HuggingFaceTB/SmolLM2-135M-Instruct",
                      "hf download HuggingFaceTB/SmolLM2-135M-Instruct --local-dir "
                      "HuggingFaceTB/SmolLM2-135M-Instruct"});
  for (const char* path : {"models/absent.gguf", "./a/b", "a/b/c", "a b/c", "/a", "a/"}) {
    expect_model_error(path, {path, "check the path"});
  }
  expect_error([] { load_model_config("org/name"); }, ExitCode::model, {"hf download org/name"});
}

TEST(BrokenModel, MissingFilesOfADirectory) {
  const TemporaryDirectory directory;
  const fs::path empty = directory.path();
  expect_model_error(empty, {(empty / "config.json").string(), "No such file"});
  const fs::path model = copy_model("tiny_hf", directory.path());
  fs::remove(model / "model.safetensors");
  expect_model_error(model,
                     {(model / "model.safetensors").string(), "model.safetensors.index.json", "neither"});
  write_atomically(model / "pytorch_model.bin", "x");
  expect_model_error(model, {"convert pytorch_model.bin"});
  write_atomically(directory.path() / "text.gguf", "hello world, this is no model");
  expect_model_error(directory.path() / "text.gguf", {"text.gguf@0", "magic", "'hell'"});
  write_atomically(directory.path() / "empty.gguf", "");
  expect_model_error(directory.path() / "empty.gguf", {"empty.gguf@0", "magic", "4 bytes", "0"});
}

TEST(BrokenModel, Shards) {
  const TemporaryDirectory directory;
  const fs::path model = copy_model("tiny_sharded", directory.path());
  const fs::path index = model / "model.safetensors.index.json";
  const Json good = Json::parse(read_text(index, ExitCode::model));
  const auto with_index = [&](const std::function<void(Json&)>& change, Parts parts) {
    Json changed = good;
    change(changed);
    write_atomically(index, changed.dump());
    parts.push_back("index.json");
    expect_model_error(model, parts);
  };
  for (const char* name : {"../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..", "", "a\\b"}) {
    with_index([&](Json& j) { j["weight_map"]["lm_head.weight"] = name; },
               {"'lm_head.weight'", "same directory", "found '" + std::string(name) + "'", "refused"});
  }
  with_index([](Json& j) { j["weight_map"]["lm_head.weight"] = 3; },
             {"'lm_head.weight'", "a file name", "number"});
  with_index([](Json& j) { j.erase("weight_map"); }, {"weight_map", "an object"});
  with_index([](Json& j) { j = Json::array(); }, {"weight_map", "an object"});
  with_index([](Json& j) { j["weight_map"]["lm_head.weight"] = "model-00002-of-00003.safetensors"; },
             {"'lm_head.weight'", "the tensor in 'model-00002-of-00003.safetensors'"});
  with_index([](Json& j) { j["weight_map"]["more.weight"] = "model-00002-of-00003.safetensors"; },
             {"'more.weight'", "no such tensor"});
  with_index(
      [](Json& j) {
        for (int i = 0; i < 7; ++i) j["weight_map"]["t" + std::to_string(i)] = "missing-" + std::to_string(i);
      },
      {"10 shards",
       "7 of them missing: 'missing-0', 'missing-1', 'missing-2', 'missing-3', 'missing-4', ..."});
  write_atomically(index, R"({"weight_map": {"a": "x", "a": "y"}})");
  expect_model_error(model, {"index.json@", "'a'", "duplicate"});
  write_atomically(index, good.dump());
  fs::copy(model / "model-00001-of-00003.safetensors", model / "copy.safetensors");
  Json twice = good;
  twice["weight_map"]["lm_head.weight"] = "copy.safetensors";
  write_atomically(index, twice.dump());
  expect_model_error(
      model, {"model-00001-of-00003.safetensors", "'lm_head.weight'", "duplicate", "copy.safetensors"});
}

TEST(BrokenModel, ConfigJson) {
  const TemporaryDirectory directory;
  const auto with_config = [&](const std::function<void(Json&)>& change, Parts parts) {
    const fs::path model = copy_model("tiny_hf", directory.path(), change);
    parts.push_back((model / "config.json").string());
    expect_model_error(model, parts);
    fs::remove_all(model);
  };
  const auto with_value = [&](const char* key, const Json& value, Parts parts) {
    SCOPED_TRACE(std::string(key) + " " + value.dump());
    with_config([&](Json& c) { c[key] = value; }, std::move(parts));
  };
  with_value("architectures", {"GPT2LMHeadModel"},
             {"LlamaForCausalLM, MistralForCausalLM", "'GPT2LMHeadModel'"});
  with_value("architectures", "LlamaForCausalLM", {"architectures", "array"});
  with_value("architectures", Json::array(), {"architectures", "array"});
  for (const char* key : {"hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings"}) {
    for (const char* value :
         {"-1", "0", "2.5", "32.0", "\"32\"", "true", "9007199254740993000", "18446744073709551615"}) {
      const Json wrong = Json::parse(value);
      with_value(key, wrong, {key, "an integer from 1 to", wrong.is_string() ? "32" : value});
    }
  }
  for (const char* key : {"hidden_size", "num_hidden_layers", "vocab_size"}) {
    with_config([&](Json& c) { c.erase(key); }, {key, "no such key"});
  }
  with_value("num_hidden_layers", 4097, {"num_hidden_layers", "1 to 4096", "4097"});
  with_value("num_key_value_heads", 3, {"num_key_value_heads", "a divisor", "4", "3"});
  with_value("head_dim", 7, {"head_dim", "even", "7"});
  with_value("rms_norm_eps", -1.0, {"rms_norm_eps"});
  with_value("rms_norm_eps", "small", {"rms_norm_eps", "a number", "small"});
  with_value("attention_bias", true, {"attention_bias", "without biases", "true"});
  with_value("mlp_bias", true, {"mlp_bias", "without biases", "true"});
  with_value("attention_bias", 1, {"attention_bias", "true or false"});
  with_value("hidden_act", "gelu", {"hidden_act", "silu", "'gelu'"});
  with_value("partial_rotary_factor", 0.5, {"partial_rotary_factor", "1", "0.5"});
  with_value("quantization_config", {{"quant_method", "gptq"}}, {"quantization_config", "GGUF"});
  with_value("rope_parameters", {{"rope_type", "yarn"}},
             {"rope_type", "default, linear or llama3", "'yarn'"});
  with_value("rope_parameters", {{"rope_type", "linear"}}, {"factor", "no such key"});
  with_value("rope_parameters", {{"rope_type", "linear"}, {"factor", 0}}, {"factors above 0"});
  with_value("rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}, {"one set for all layers"});
  with_value("rope_parameters", "llama3", {"rope_parameters", "an object"});
  with_value("rope_parameters",
             {{"rope_type", "llama3"},
              {"factor", 8},
              {"low_freq_factor", 4},
              {"high_freq_factor", 4},
              {"original_max_position_embeddings", 8192}},
             {"low_freq_factor below high_freq_factor"});
  with_value("tie_word_embeddings", "yes", {"tie_word_embeddings", "true or false"});
  with_config([](Json& c) { c = Json::array(); }, {"an object", "array"});
}

TEST(BrokenModel, ConfigThatIsNoJson) {
  const TemporaryDirectory directory;
  const fs::path model = copy_model("tiny_hf", directory.path());
  write_atomically(model / "config.json", R"({"hidden_size": 32,})");
  expect_model_error(model, {"config.json@19", "valid JSON"});
  write_atomically(model / "config.json", R"({"hidden_size": 32, "hidden_size": 64})");
  expect_model_error(model, {"config.json@", "'hidden_size'", "duplicate"});
}

TEST(BrokenModel, TensorsThatDoNotFitTheConfiguration) {
  const TemporaryDirectory directory;
  const auto with_config = [&](const char* key, int64_t value, const Parts& parts) {
    const fs::path model = copy_model("tiny_hf", directory.path(), [&](Json& c) { c[key] = value; });
    expect_model_error(model, parts);
    fs::remove_all(model);
  };
  with_config("vocab_size", 65, {"model.safetensors", "lm_head.weight", "[65, 32]", "[64, 32]"});
  with_config("num_hidden_layers", 3,
              {"model.layers.2.", "no such tensor", "check that the model is complete"});
  with_config("num_hidden_layers", 1, {"'model.layers.1.", "one more"});
  with_config("intermediate_size", int64_t{1} << 20, {"[32, 1048576]", "[32, 48]"});
}

// A tiny GGUF file after `change` is refused by one line with these parts.
void with(const std::function<void(TinyGguf&)>& change, Parts parts) {
  const TemporaryDirectory directory;
  TinyGguf model;
  change(model);
  parts.push_back("tiny.gguf");
  expect_model_error(model.write(directory.path()), parts);
}

TEST(BrokenModel, GgufKeys) {
  with([](TinyGguf& m) { m.set_string("general.architecture", "qwen2"); },
       {"general.architecture", "llama", "'qwen2'"});
  with([](TinyGguf& m) { m.keys.erase("general.architecture"); }, {"general.architecture", "no such key"});
  with([](TinyGguf& m) { m.set_u32("llama.expert_count", 8); }, {"llama.expert_count", "mixture of experts"});
  with([](TinyGguf& m) { m.set_u32("split.count", 2); }, {"split.count", "--merge"});
  for (const char* key : {"llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
                          "llama.attention.head_count", "llama.context_length"}) {
    with([&](TinyGguf& m) { m.keys.erase(key); }, {key, "no such key"});
    with([&](TinyGguf& m) { m.set_u32(key, 0); }, {"tiny.gguf@", key, "from 1 to", "0"});
    with([&](TinyGguf& m) { m.set_f32(key, 1.5f); }, {key, "an integer", "1.5"});
    with([&](TinyGguf& m) { m.set(gguf_key(key, kGgufI32, raw(int32_t{-4})), key); }, {key, "-4"});
    with([&](TinyGguf& m) { m.set(gguf_key(key, kGgufU64, raw(~uint64_t{0})), key); },
         {key, "18446744073709551615"});
  }
  with([](TinyGguf& m) { m.set_u32("llama.block_count", 5000); }, {"llama.block_count", "4096", "5000"});
  with([](TinyGguf& m) { m.set_u32("llama.attention.head_count", 3); }, {"head_dim"});
  with([](TinyGguf& m) { m.set_u32("llama.attention.head_count_kv", 3); },
       {"num_key_value_heads", "divisor"});
  with([](TinyGguf& m) { m.set_u32("llama.attention.value_length", 4); },
       {"value_length", "from 2 to 2", "4"});
  with([](TinyGguf& m) { m.set_u32("llama.rope.dimension_count", 1); }, {"dimension_count", "1"});
  with([](TinyGguf& m) { m.set_u32("llama.vocab_size", 6); }, {"llama.vocab_size", "from 5 to 5", "6"});
  with([](TinyGguf& m) { m.set_f32("llama.rope.freq_base", -1.0f); }, {"rope_theta", "above 0"});
  with([](TinyGguf& m) { m.set_string("llama.rope.scaling.type", "yarn"); },
       {"scaling.type", "linear", "'yarn'"});
  with([](TinyGguf& m) { m.set_string("llama.rope.scaling.type", "linear"); },
       {"scaling.factor", "no such key"});
  with([](TinyGguf& m) { m.set_string("llama.attention.layer_norm_rms_epsilon", "x"); },
       {"epsilon", "a number", "'x'"});
}

TEST(BrokenModel, GgufTensors) {
  for (const auto& [name, shape] : TinyGguf().tensors) {
    with([&](TinyGguf& m) { m.tensors.erase(name); }, {name, "no such tensor"});
    if (name == "token_embd.weight") continue;  // its rows are the vocabulary
    with([&](TinyGguf& m) { ++m.tensors[name][0]; },
         {name, "shape [" + std::to_string(shape[0]), ", found [" + std::to_string(shape[0] + 1)});
  }
  with([](TinyGguf& m) { m.tensors["blk.0.attn_q.bias"] = {4}; }, {"'blk.0.attn_q.bias'", "biases"});
  with([](TinyGguf& m) { m.tensors["output.weight"] = {6, 4}; }, {"output.weight", "[5, 4]", "[6, 4]"});
  with([](TinyGguf& m) { m.tensors["rope_freqs.weight"] = {2}; }, {"rope_freqs.weight", "f32[1]"});
}

TEST(BrokenModel, NanAndInfinityAreFoundWithTheirIndex) {
  const TemporaryDirectory directory;
  TinyGguf model;
  std::vector<float> values(24, 0.5f);
  values[4 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
  model.values["blk.0.ffn_up.weight"] = values;
  for (const DType type : {DType::f32, DType::bf16}) {
    expect_error([&] { load_model(model.write(directory.path()), type, Stream{}); }, ExitCode::model,
                 {"tiny.gguf", "blk.0.ffn_up.weight", "finite", "[3, 1]"});
  }
  model = TinyGguf();
  model.values["output_norm.weight"] = {1.0f, 1.0f, -std::numeric_limits<float>::infinity(), 1.0f};
  expect_model_error(model.write(directory.path()), {"output_norm.weight", "[0, 2]"});
}

TEST(BrokenModel, TruncatedFiles) {
  const TemporaryDirectory directory;
  const fs::path path = TinyGguf().write(directory.path());
  const auto size = fs::file_size(path);
  for (const uintmax_t cut : {uintmax_t{33}, uintmax_t{200}, size / 2, size - 33}) {
    fs::resize_file(TinyGguf().write(directory.path()), cut);
    expect_model_error(path, {"tiny.gguf@", "truncated"});
  }
  const fs::path model = copy_model("tiny_hf", directory.path());
  fs::resize_file(model / "model.safetensors", fs::file_size(model / "model.safetensors") - 1);
  expect_model_error(model, {"model.safetensors", "truncated"});
}

// Flipped bits in a whole model: it loads, or says in one line of status 3 what is wrong.
TEST(BrokenModel, RandomFlipsNeverCrash) {
  const TemporaryDirectory directory;
  const std::string good = TinyGguf().bytes();
  const fs::path path = directory.path() / "flipped.gguf";
  const Stream stream({}, 1);
  std::mt19937 random(3);
  int loaded = 0;
  constexpr int kTrials = 1000;
  for (int i = 0; i < kTrials; ++i) {
    std::string bytes = good;
    for (unsigned flips = 1 + random() % 2; flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= static_cast<char>(1u << (random() % 8));
    }
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      load_model(path, DType::bf16, stream);
      ++loaded;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::model) << error.what();
    }
  }
  EXPECT_GT(loaded, 0);
  EXPECT_LT(loaded, kTrials);
}

}  // namespace
}  // namespace gorgon
