// Keys of the optimizer and of the types of weights.
#include "trainer/special_fields.h"

namespace gorgon::config_field {
void add_optimizer_fields(std::vector<ConfigField>& f) {
  f.push_back(number(
      {"learning_rate", {}, "peak learning rate"}, 0, 10,
      [](auto& c) -> auto& { return c.lr.learning_rate; }));
  f.push_back(choice<LrScheduler>(
      {"lr_scheduler_type", {}, "schedule of the learning rate, as in Hugging Face"},
      {{"constant", LrScheduler::constant},
       {"constant_with_warmup", LrScheduler::constant_with_warmup},
       {"linear", LrScheduler::linear},
       {"cosine", LrScheduler::cosine},
       {"cosine_with_min_lr", LrScheduler::cosine_with_min_lr}},
      [](auto& c) -> auto& { return c.lr.scheduler; }));
  f.push_back(number(
      {"min_lr_rate", {}, "where cosine_with_min_lr ends, as a share of learning_rate"}, 0, 1,
      [](auto& c) -> auto& { return c.lr.min_lr_rate; }));
  f.push_back(number(
      {"warmup_ratio", {}, "share of the steps over which the learning rate rises from 0"}, 0, 1,
      [](auto& c) -> auto& { return c.lr.warmup_ratio; }));
  f.push_back(integer(
      {"warmup_steps", {}, "the same in steps; wins when > 0"}, 0, kManySteps,
      [](auto& c) -> auto& { return c.lr.warmup_steps; }));
  f.push_back(choice<bool>(
      {"optim", {}, "AdamW with 8-bit or 32-bit moments"},
      {{"adamw_8bit", true},
       {"adamw_bnb_8bit", true},
       {"adamw", false},
       {"adamw_torch", false},
       {"adamw_torch_fused", false}},
      [](auto& c) -> auto& { return c.optimizer.eight_bit; }));
  f.push_back(number(
      {"adam_beta1", {}, "decay of the first moment"}, 0, 0.999999,
      [](auto& c) -> auto& { return c.optimizer.beta1; }));
  f.push_back(number(
      {"adam_beta2", {}, "decay of the second moment"}, 0, 0.999999,
      [](auto& c) -> auto& { return c.optimizer.beta2; }));
  f.push_back(number(
      {"adam_epsilon", {}, "added to the denominator"}, 0, 1,
      [](auto& c) -> auto& { return c.optimizer.epsilon; }));
  f.push_back(number(
      {"weight_decay", {}, "decoupled; leaves out biases"}, 0, 10,
      [](auto& c) -> auto& { return c.optimizer.weight_decay; }));
  f.push_back(number(
      {"max_grad_norm", {}, "gradients are scaled down to this global norm; 0: off"}, 0, 1e9,
      [](auto& c) -> auto& { return c.optimizer.max_grad_norm; }));
  f.push_back(choice<bool>(
      {"master_weights", {}, "f32: bf16 weights keep an f32 copy; none: stochastic rounding"},
      {{"none", false}, {"f32", true}}, [](auto& c) -> auto& { return c.optimizer.f32_master_weights; }));
}

void add_precision_fields(std::vector<ConfigField>& f) {
  f.push_back(compute_type());
  f.push_back(boolean(
      {"tf32", {}, "f32 matrix products in tf32 on a GPU; no effect on a CPU"},
      [](auto& c) -> auto& { return c.tf32; }));
  f.push_back(boolean(
      {"fp8",
       {},
       "the backbone's matrix products in fp8 (e4m3, a scale a row), on a GPU of compute capability 8.9 or "
       "later"},
      [](auto& c) -> auto& { return c.fp8; }));
  f.push_back(boolean(
      {"load_in_4bit",
       {},
       "the backbone's matrices (not its embeddings and lm_head) in 4 bits, 4.5 with their scales"},
      [](auto& c) -> auto& { return c.load_in_4bit; }));
  f.push_back(boolean(
      {"load_in_8bit", {}, "the same in 8 bits, rows scaled by their largest value"},
      [](auto& c) -> auto& { return c.load_in_8bit; }));
  f.push_back(only({"bnb_4bit_quant_type", {}, "how load_in_4bit rounds"}, {"nf4"},
                   "nf4 is the better of the two for weights"));
  f.push_back(boolean(
      {"bnb_4bit_use_double_quant", {}, "load_in_4bit rounds its scales too, as bitsandbytes does"},
      [](auto& c) -> auto& { return c.bnb_4bit_use_double_quant; }));
}

}  // namespace gorgon::config_field
