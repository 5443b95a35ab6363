#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <unistd.h>

#include "data/safetensors.h"
#include "tests/model/tiny_model.h"

namespace gorgon {

// A file of tensors in the temporary folder, removed at the end.
class TemporaryHeads {
 public:
  TemporaryHeads()
      : path_(std::filesystem::temp_directory_path() / ("gorgon-heads-" + std::to_string(getpid()) + "-" +
                                                        std::to_string(counter_++) + ".safetensors")) {}
  ~TemporaryHeads() { std::filesystem::remove(path_); }
  TemporaryHeads(const TemporaryHeads&) = delete;
  TemporaryHeads& operator=(const TemporaryHeads&) = delete;

  void add(const std::string& name, const WeightMatrix& m, bool vector = false) {
    add(name, DType::f32, vector ? std::vector<int64_t>{m.rows} : std::vector<int64_t>{m.rows, m.columns},
        m.storage);
  }
  void add(const std::string& name, DType type, std::vector<int64_t> shape,
           std::shared_ptr<const Tensor> values) {
    tensors_.push_back({name, type, std::move(shape), [values] {
                          return std::span(values->data(), static_cast<size_t>(values->bytes()));
                        }});
  }
  // K random heads of one ResBlock with Linears of their own.
  void add_heads(TinyModel& model, int heads) {
    const int64_t hidden = model.weights().config.hidden_size;
    for (int k = 0; k < heads; ++k) {
      const std::string head = std::to_string(k);
      add(head + ".0.linear.weight", model.matrix(hidden, hidden, 1.0));
      add(head + ".0.linear.bias", model.matrix(hidden, 1, 0.1), true);
      add(head + ".1.weight", model.matrix(model.weights().config.vocab_size, hidden, 1.0));
    }
  }
  const std::filesystem::path& write(const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(path_, tensors_, metadata);
    return path_;
  }

 private:
  static inline int counter_ = 0;
  std::filesystem::path path_;
  std::vector<SafetensorsOutput> tensors_;
};

}  // namespace gorgon
