#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "data/safetensors.h"
#include "model/model_weights.h"
#include "tests/data/temporary_directory.h"
#include "tests/model/tiny_model_files.h"

namespace gorgon {
namespace {

const std::string kGolden = GORGON_TEST_DATA "/containers/";

Json expected_values() {
  return Json::parse(read_text(kGolden + "expected.json", ExitCode::data));
}

// Rows [begin, begin + rows) of a matrix against a tensor of the file, to the bit.
void expect_rows(const WeightMatrix& matrix, int64_t begin, const Safetensors& file,
                 const std::string& name) {
  const TensorEntry& entry = file.tensors.at(name);
  ASSERT_EQ(entry.shape.at(1), matrix.columns) << name;
  ASSERT_LE(begin + entry.shape.at(0), matrix.rows) << name;
  const float* rows = matrix.storage->as<float>() + begin * matrix.columns;
  EXPECT_EQ(std::memcmp(rows, entry.bytes.data(), entry.bytes.size()), 0) << name;
}

void expect_vector(const Tensor& vector, const Safetensors& file, const std::string& name) {
  const TensorEntry& entry = file.tensors.at(name);
  ASSERT_EQ(static_cast<size_t>(vector.bytes()), entry.bytes.size()) << name;
  EXPECT_EQ(std::memcmp(vector.data(), entry.bytes.data(), entry.bytes.size()), 0) << name;
}

TEST(Loading, ThreeContainersGiveTheSameFusedWeights) {
  const MappedFile mapped(kGolden + "tiny_hf/model.safetensors", ExitCode::model);
  const Safetensors file = parse_safetensors(mapped.bytes(), "tiny_hf");
  const Json expected = expected_values();
  const Stream stream({}, 3);
  for (const std::string model : {"tiny_hf", "tiny_sharded", "tiny.gguf"}) {
    SCOPED_TRACE(model);
    const ModelWeights weights = load_model(kGolden + model, DType::f32, stream);
    EXPECT_EQ(weights.fingerprint, expected["fingerprints"][model].get<std::string>());
    expect_rows(weights.token_embedding, 0, file, "model.embed_tokens.weight");
    expect_rows(weights.lm_head, 0, file, "lm_head.weight");
    expect_vector(weights.final_norm, file, "model.norm.weight");
    ASSERT_EQ(weights.layers.size(), 2u);
    for (size_t l = 0; l < 2; ++l) {
      const LayerWeights& layer = weights.layers[l];
      const std::string prefix = "model.layers." + std::to_string(l) + ".";
      EXPECT_EQ(layer.query_key_value.rows, (4 + 2 * 2) * 8);
      expect_vector(layer.attention_norm, file, prefix + "input_layernorm.weight");
      expect_rows(layer.query_key_value, 0, file, prefix + "self_attn.q_proj.weight");
      expect_rows(layer.query_key_value, 32, file, prefix + "self_attn.k_proj.weight");
      expect_rows(layer.query_key_value, 48, file, prefix + "self_attn.v_proj.weight");
      expect_rows(layer.attention_output, 0, file, prefix + "self_attn.o_proj.weight");
      expect_vector(layer.feed_forward_norm, file, prefix + "post_attention_layernorm.weight");
      expect_rows(layer.gate_up, 0, file, prefix + "mlp.gate_proj.weight");
      expect_rows(layer.gate_up, 48, file, prefix + "mlp.up_proj.weight");
      expect_rows(layer.down, 0, file, prefix + "mlp.down_proj.weight");
    }
  }
}

TEST(Loading, Bf16WeightsAreTheRoundedOnes) {
  const Stream stream;
  const ModelWeights exact = load_model(kGolden + "tiny.gguf", DType::f32, stream);
  const ModelWeights rounded = load_model(kGolden + "tiny.gguf", DType::bf16, stream);
  EXPECT_EQ(rounded.fingerprint, exact.fingerprint) << "of the file, not of the type computed in";
  const WeightMatrix& a = exact.layers[1].query_key_value;
  const WeightMatrix& b = rounded.layers[1].query_key_value;
  ASSERT_EQ(b.type, DType::bf16);
  EXPECT_EQ(rounded.layers[1].attention_norm.type(), DType::f32);
  for (int64_t i = 0; i < a.rows * a.columns; ++i) {
    ASSERT_EQ(b.storage->as<bf16>()[i].bits, bf16(a.storage->as<float>()[i]).bits);
  }
}

TEST(Loading, ConfigurationsOfTheContainersAgree) {
  for (const std::string model : {"tiny_hf", "tiny_sharded", "tiny.gguf"}) {
    SCOPED_TRACE(model);
    const ModelConfig c = load_model_config(kGolden + model);
    EXPECT_EQ(c.architecture, "llama");
    EXPECT_EQ(c.hidden_size, 32);
    EXPECT_EQ(c.num_hidden_layers, 2);
    EXPECT_EQ(c.intermediate_size, 48);
    EXPECT_EQ(c.num_attention_heads, 4);
    EXPECT_EQ(c.num_key_value_heads, 2);
    EXPECT_EQ(c.head_dim, 8);
    EXPECT_EQ(c.vocab_size, 64);
    EXPECT_EQ(c.max_position_embeddings, 128);
    EXPECT_EQ(c.rms_norm_eps, 1e-5f);
    EXPECT_EQ(c.rope_theta, 5000.0f);
    EXPECT_TRUE(c.rope_factors.empty());
    EXPECT_FALSE(c.sliding_window.has_value());
    EXPECT_FALSE(c.tie_word_embeddings);
  }
}

TEST(Loading, TiedModelsShareOneMatrix) {
  const TemporaryDirectory directory;
  const Stream stream;
  const ModelWeights gguf = load_model(TinyGguf().write(directory.path()), DType::f32, stream);
  EXPECT_TRUE(gguf.config.tie_word_embeddings);
  EXPECT_EQ(gguf.lm_head.storage, gguf.token_embedding.storage);
  const auto tied = copy_model("tiny_hf", directory.path(), [](Json& c) { c["tie_word_embeddings"] = true; });
  const ModelWeights hugging_face = load_model(tied, DType::f32, stream);
  EXPECT_EQ(hugging_face.lm_head.storage, hugging_face.token_embedding.storage);
}

// transformers computes the frequencies in f32 and takes powers of theta: 1e-6 covers both roundings.
TEST(Loading, RotaryScalingsGiveTransformersFrequencies) {
  const TemporaryDirectory directory;
  const Json values = expected_values();
  for (const auto& [name, expected] : values["rotary"].items()) {
    for (const char* key : {"rope_parameters", "rope_scaling"}) {
      SCOPED_TRACE(name + " under " + key);
      const auto path = copy_model("tiny_hf", directory.path(), [&](Json& c) {
        c.erase("rope_parameters");
        c[key] = expected["rope_parameters"];
        c["head_dim"] = 64;
      });
      const ModelConfig config = load_model_config(path);
      std::filesystem::remove_all(path);
      for (size_t i = 0; i < 32; ++i) {
        const double plain =
            std::pow(static_cast<double>(config.rope_theta), -2.0 * static_cast<double>(i) / 64.0);
        const double got = config.rope_factors.empty() ? plain : plain / config.rope_factors.at(i);
        const double want = expected["frequencies"].at(i).get<double>();
        EXPECT_NEAR(got, want, 1e-6 * want);
      }
    }
  }
}

TEST(Loading, FormerRopeKeysOfHuggingFaceAreRead) {
  const TemporaryDirectory directory;
  const auto path = copy_model("tiny_hf", directory.path(), [](Json& c) {
    c.erase("rope_parameters");
    c["rope_theta"] = 1234.0;
    c["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  });
  const ModelConfig config = load_model_config(path);
  EXPECT_EQ(config.rope_theta, 1234.0f);
  EXPECT_EQ(config.rope_factors, (std::vector<float>(4, 2.0f)));
}

TEST(Loading, MistralsSlidingWindow) {
  const TemporaryDirectory directory;
  const auto window_of = [&](const std::function<void(Json&)>& change) {
    const auto path = copy_model("tiny_hf", directory.path(), [&](Json& c) {
      c["architectures"] = {"MistralForCausalLM"};
      change(c);
    });
    const ModelConfig config = load_model_config(path);
    EXPECT_EQ(config.architecture, "mistral");
    std::filesystem::remove_all(path);
    return config.sliding_window;
  };
  EXPECT_EQ(window_of([](Json& c) { c["sliding_window"] = 77; }), 77);
  EXPECT_EQ(window_of([](Json& c) { c["sliding_window"] = nullptr; }), std::nullopt);
  EXPECT_EQ(window_of([](Json&) {}), 4096) << "MistralConfig's default";
}

TEST(Loading, OptionalKeysOfGguf) {
  const TemporaryDirectory directory;
  TinyGguf model;
  const ModelConfig plain = load_model_config(model.write(directory.path()));
  EXPECT_EQ(plain.head_dim, 2);
  EXPECT_EQ(plain.rope_theta, 10000.0f);
  EXPECT_EQ(plain.sliding_window, std::nullopt);
  model.set_f32("llama.rope.freq_base", 7.0f);
  model.set_u32("llama.attention.sliding_window", 3);
  model.set_string("llama.rope.scaling.type", "linear");
  model.set_f32("llama.rope.scaling.factor", 4.0f);
  const ModelConfig full = load_model_config(model.write(directory.path()));
  EXPECT_EQ(full.rope_theta, 7.0f);
  EXPECT_EQ(full.sliding_window, 3);
  EXPECT_EQ(full.rope_factors, (std::vector<float>{4.0f}));
  model.tensors["rope_freqs.weight"] = {1};
  model.values["rope_freqs.weight"] = {2.5f};
  EXPECT_EQ(load_model_config(model.write(directory.path())).rope_factors, (std::vector<float>{2.5f}));
  EXPECT_NO_THROW(load_model(model.write(directory.path()), DType::f32, Stream{}));
}

// safetensors allows tensors without elements; nothing of theirs may be read.
TEST(Loading, TensorsWithoutElementsAreAccepted) {
  const TemporaryDirectory directory;
  const auto path = copy_model("tiny_hf", directory.path());
  const auto file = path / "model.safetensors";
  const MappedFile mapped(file, ExitCode::model);
  std::vector<SafetensorsOutput> tensors;
  for (const auto& [name, entry] : parse_safetensors(mapped.bytes(), file.string()).tensors) {
    tensors.push_back({name, entry.type, entry.shape, [bytes = entry.bytes] { return bytes; }});
  }
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", DType::f32, {0, 8}, [] {
                       return std::span<const std::byte>();
                     }});
  write_safetensors(file, tensors, {});
  const ModelWeights weights = load_model(path, DType::f32, Stream{});
  EXPECT_EQ(weights.layers.size(), static_cast<size_t>(weights.config.num_hidden_layers));
}

TEST(Loading, FingerprintSeesEveryBit) {
  const TemporaryDirectory directory;
  const Stream stream;
  TinyGguf model;
  const std::string before = load_model(model.write(directory.path()), DType::f32, stream).fingerprint;
  EXPECT_EQ(load_model(model.write(directory.path()), DType::bf16, Stream({}, 1)).fingerprint, before);
  model.values["output_norm.weight"] = {0.5f, 0.5f, std::nextafterf(0.5f, 1.0f), 0.5f};
  EXPECT_NE(load_model(model.write(directory.path()), DType::f32, stream).fingerprint, before);
}

}  // namespace
}  // namespace gorgon
