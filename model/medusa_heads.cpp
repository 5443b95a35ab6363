#include "model/medusa_heads.h"

#include "kernels/convert.h"
#include "kernels/error.h"

namespace gorgon {

MedusaHeads MedusaHeads::initialise(const MedusaOptions& options, const WeightMatrix& lm_head, DType type,
                                    const Stream& stream) {
  require(type == DType::f32 || type == DType::bf16, "MedusaHeads", "heads are f32 or bf16");
  require(lm_head.type == DType::f32 || lm_head.type == DType::bf16, "MedusaHeads",
          "lm_head is neither f32 nor bf16");
  require(options.num_heads > 0 && options.num_layers > 0, "MedusaHeads", "no heads or no layers");
  const int64_t hidden = lm_head.columns;
  const Device device = stream.device();
  MedusaHeads all;
  all.options = options;
  for (int k = 0; k < options.num_heads; ++k) {
    MedusaHead head;
    for (int l = 0; l < options.num_layers; ++l) {
      head.blocks.push_back(
          {Tensor::zeros(type, {hidden, hidden}, device), Tensor::zeros(type, {hidden}, device)});
    }
    head.linear = Tensor(type, {lm_head.rows, hidden}, device);
    convert(lm_head.view(), head.linear.view(), stream);
    all.heads.push_back(std::move(head));
  }
  return all;
}

std::vector<NamedParameter> parameters(MedusaHeads& heads) {
  std::vector<NamedParameter> all;
  for (size_t k = 0; k < heads.heads.size(); ++k) {
    MedusaHead& head = heads.heads[k];
    const std::string prefix = std::to_string(k) + ".";
    const int index = static_cast<int>(k);
    for (size_t l = 0; l < head.blocks.size(); ++l) {
      const std::string block = prefix + std::to_string(l) + ".linear.";
      all.push_back({block + "weight", index, false, head.blocks[l].weight.view()});
      all.push_back({block + "bias", index, true, head.blocks[l].bias.view()});
    }
    all.push_back(
        {prefix + std::to_string(head.blocks.size()) + ".weight", index, false, head.linear.view()});
  }
  return all;
}

}  // namespace gorgon
