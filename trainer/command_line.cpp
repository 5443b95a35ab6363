#include "trainer/command_line.h"

#include <functional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/instruction_set.h"
#include "kernels/ranks/rank_group.h"
#include "trainer/commands.h"
#include "trainer/found_heads.h"
#include "trainer/launch.h"
#include "trainer/misuse.h"
#include "trainer/run_config.h"
#include "trainer/stop_signal.h"

namespace gorgon {
namespace {

// The command line: options write into these, the command picked calls `run`.
struct Arguments : Launch {
  PrepareArguments prepare;
  PlanArguments plan;
  CacheArguments cache;
  TrainArguments train;
  EvalArguments eval;
  TreeArguments tree;
  DistillArguments distill;
  ExportArguments exported;
  GenerateArguments generate;
};

constexpr const char* kSetHelp = "KEY=VALUE over the file's value, again for more keys";

constexpr const char* kGoesOn = "the same command goes on from here";
constexpr const char* kNothing = "nothing was written";

// A command that SIGTERM and SIGINT stop between pieces of work. `outcome`: what that leaves.
template <typename Command, typename CommandArguments>
Launch::Run stoppable(Command command, const CommandArguments& arguments, const char* outcome) {
  return [command, &arguments, outcome](Console& console, RankGroup& ranks) {
    StopSignal stop;
    try {
      if constexpr (std::is_invocable_v<Command, const CommandArguments&, Console&, const StopSignal&,
                                        RankGroup&>) {
        return command(arguments, console, stop, ranks);
      } else {
        return command(arguments, console, stop);
      }
    } catch (const Stopped&) {
      stop.outlive();
      const bool is_own = stop.requested() || !ranks.is_several();
      console.info(
          fmt::format("stopped by {}; {}", is_own ? stop.name() : "max_run_time or another rank", outcome));
      return static_cast<int>(ExitCode::preempted);
    }
  };
}

// A whole number, in words of our own where it is none.
CLI::Validator from(int64_t least) {
  return CLI::Validator(
      [least](const std::string& text) {
        int64_t value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least) return std::string();
        return fmt::format("expected a whole number from {}, found {}", least, quote_value(text));
      },
      "");
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& what,
                      const std::string& footer) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(footer);
  return command;
}

void add_prepare(CLI::App& app, Arguments& arguments) {
  PrepareArguments& a = arguments.prepare;
  CLI::App* command =
      add_command(app, "prepare", "Turn text into token sequences (train does it where it is missing)",
                  "Example:\n  gorgon prepare configs/quickstart.yaml --preview 2");
  command->add_option("CONFIG", a.config, "YAML file; configs/README.md lists its keys")->required();
  command->add_option("--set", a.overrides, kSetHelp)->allow_extra_args(false);
  command->add_option("--preview", a.preview, "show N documents: what is supervised, masked and clipped")
      ->check(from(1));
  command->add_option("--dataset", a.dataset, "file to write instead of OUTPUT_DIR/prepared/dataset.h5");
  command->callback([&arguments] { arguments.run = stoppable(prepare_command, arguments.prepare, kGoesOn); });
}

void add_plan(CLI::App& app, Arguments& arguments) {
  PlanArguments& a = arguments.plan;
  CLI::App* command = add_command(app, "plan", "Memory, disk and time of a run, before anything is loaded",
                                  "Example:\n  gorgon plan configs/quickstart.yaml --set load_in_4bit=true");
  command->add_option("CONFIG", a.config, "YAML file; configs/README.md lists its keys")->required();
  command->add_option("--set", a.overrides, kSetHelp)->allow_extra_args(false);
  command->add_option("--ranks,--gpus", a.ranks, "processes that share the work, one a GPU (docs/cluster.md)")
      ->check(CLI::Range(1, 1 << 16));
  command->callback([&arguments] {
    arguments.run = [&arguments](Console& console, RankGroup&) {
      return plan_command(arguments.plan, console);
    };
  });
}

void add_cache(CLI::App& app, Arguments& arguments) {
  CacheArguments& a = arguments.cache;
  CLI::App* command =
      add_command(app, "cache", "Run the backbone over the training data once and keep its states",
                  "Example:\n  gorgon cache configs/quickstart.yaml");
  command->add_option("CONFIG", a.config, "YAML file; configs/README.md lists its keys")->required();
  command->add_option("--set", a.overrides, kSetHelp)->allow_extra_args(false);
  command->add_option("--dataset", a.dataset, "prepared file instead of OUTPUT_DIR/prepared/dataset.h5");
  command->add_option("--cache", a.cache, "file to write instead of OUTPUT_DIR/prepared/cache.h5");
  command->callback([&arguments] { arguments.run = stoppable(cache_command, arguments.cache, kGoesOn); });
}

// A command at which several processes work together. `terms`: how they meet, from its arguments.
template <typename Terms>
void add_ranks(CLI::App* command, Arguments& arguments, Terms terms) {
  command->add_option("--gpus", arguments.gpus, "processes to start on this machine (docs/cluster.md)")
      ->check(CLI::Range(1, 256));
  command->parse_complete_callback([&arguments, terms] { arguments.terms = terms; });
}

// Ranks of one job write to one place, and wait for one another as their config says.
MeetingTerms terms_of(const RunConfig& config, const char* what, const std::filesystem::path& output) {
  MeetingTerms terms;
  terms.seconds = static_cast<double>(config.ddp_timeout);
  terms.job = std::string(what) + " " + std::filesystem::absolute(output).lexically_normal().string();
  return terms;
}

void add_train(CLI::App& app, Arguments& arguments) {
  TrainArguments& a = arguments.train;
  CLI::App* command =
      add_command(app, "train", "Train Medusa heads; goes on where an interrupted run stopped",
                  "Example:\n  gorgon train configs/quickstart.yaml --set learning_rate=2e-3 --set "
                  "output_dir=runs/lr2e-3");
  command->add_option("CONFIG", a.config, "YAML file; configs/README.md lists its keys")->required();
  command->add_option("--set", a.overrides, kSetHelp)->allow_extra_args(false);
  command->add_option("--dataset", a.dataset, "prepared file instead of OUTPUT_DIR/prepared/dataset.h5");
  command->add_option("--cache", a.cache, "cached states instead of OUTPUT_DIR/prepared/cache.h5");
  command
      ->add_option("--resume", a.resume,
                   "auto: go on when OUTPUT_DIR holds this run; never; or the PATH of a checkpoint")
      ->capture_default_str();
  command->add_flag("--force", a.force, "remove an earlier run from OUTPUT_DIR and start over");
  command->add_flag("--profile", a.profile, "print where the time of the steps went");
  add_ranks(command, arguments, [&a] {
    const RunConfig config = load_config(a.config, a.overrides).config;
    return terms_of(config, "output_dir", config.output_dir);
  });
  command->callback([&arguments] { arguments.run = stoppable(train_command, arguments.train, kGoesOn); });
}

void add_dtype(CLI::App* command, std::string& dtype) {
  command->add_option("--dtype", dtype, "bf16 or f32, instead of the run's")
      ->check(CLI::IsMember({"bf16", "f32"}));
}

constexpr const char* kModelHelp = "the frozen model, where it is not at the run's model_path";

// What decoding commands share.
template <typename Arguments>
void add_decoding(CLI::App* command, Arguments& a) {
  command->add_option("--model", a.model, kModelHelp);
  command->add_option("--max-new-tokens", a.max_new_tokens, "cap of an answer")
      ->check(from(1))
      ->capture_default_str();
  add_dtype(command, a.dtype);
  command
      ->add_option(
          "--heads-dtype", a.heads_dtype,
          "q8_0: heads in 8 bits, half the bytes to read; full: as the rest (default: q8_0 with bf16)")
      ->check(CLI::IsMember({"q8_0", "full"}));
}

template <typename Arguments>
void add_data(CLI::App* command, Arguments& a) {
  command->add_option("--data", a.data, "JSONL file or glob, again for more")
      ->required()
      ->allow_extra_args(false);
  command->add_option("--limit", a.limit, "prompts to take")->check(from(1));
}

// Option of a temperature; CLI::Range alone takes "nan".
CLI::Option* add_temperature(CLI::App* command, double& temperature) {
  const auto is_number = [](const std::string& text) {
    return CLI::detail::to_lower(text).find("nan") == std::string::npos ? "" : "is not a number: " + text;
  };
  return command->add_option("--temperature", temperature, "0 = greedy")
      ->check(is_number)
      ->check(CLI::Range(0.0, 100.0));
}

void add_top_p(CLI::App* command, double& top_p) {
  command->add_option("--top-p", top_p, "draw from the most probable tokens up to this much probability")
      ->check(CLI::Range(0.01, 1.0))
      ->needs("--temperature");
}

template <typename Arguments>
void add_drafting(CLI::App* command, Arguments& a) {
  command->add_option("--tree", a.tree,
                      "tree.json, or a JSON list of rank paths (default: beside the heads, else the chain)");
  add_temperature(command, a.temperature);
  command->add_option("--seed", a.seed, "of the draws at a temperature")->check(from(0));
}

void add_eval(CLI::App& app, Arguments& arguments) {
  EvalArguments& a = arguments.eval;
  CLI::App* command = add_command(
      app, "eval",
      "Accuracy of every head, and what decoding with them gains: tokens a step, speed, exactness",
      "Example:\n  gorgon eval runs/quickstart --data runs/quickstart-data/test.jsonl --limit 32");
  command->add_option("RUN", a.run, "run directory, checkpoint or export")->required();
  add_data(command, a);
  add_decoding(command, a);
  add_drafting(command, a);
  command->add_option("--draft", a.draft, "where drafts come from (default: each in turn)")
      ->check(CLI::IsMember({"heads", "lookup", "both"}));
  command->add_option("--batches", a.batches, "batch sizes at which break-even is measured: 1,4,16")
      ->delimiter(',')
      ->check(from(1))
      ->allow_extra_args(false);
  command->add_option("--output", a.output, "JSON file to write");
  add_ranks(command, arguments, [&a] { return terms_of(config_beside(a.run), "RUN", a.run); });
  command->callback([&arguments] { arguments.run = stoppable(eval_command, arguments.eval, kNothing); });
}

void add_tree(CLI::App& app, Arguments& arguments) {
  TreeArguments& a = arguments.tree;
  CLI::App* command = add_command(
      app, "tree", "Choose the tree that decodes fastest here, from held-out prompts and measured costs",
      "Example:\n  gorgon tree runs/quickstart --data runs/quickstart-data/calibration.jsonl --output "
      "runs/quickstart/tree.json");
  command->add_option("RUN", a.heads, "run directory, checkpoint or export")->required();
  add_data(command, a);
  add_decoding(command, a);
  command->add_option("--output", a.output, "file to write; decoding finds tree.json beside the heads")
      ->required();
  command->callback([&arguments] { arguments.run = stoppable(tree_command, arguments.tree, kNothing); });
}

void add_distill(CLI::App& app, Arguments& arguments) {
  DistillArguments& a = arguments.distill;
  CLI::App* command = add_command(
      app, "distill", "Let the frozen model answer the prompts itself: what heads should learn from",
      "Example:\n  gorgon distill configs/quickstart.yaml --output runs/quickstart-data/own.jsonl");
  command->add_option("CONFIG", a.config, "YAML file: model_path and train_dataset_path")->required();
  command->add_option("--set", a.overrides, kSetHelp)->allow_extra_args(false);
  command->add_option("--output", a.output, "JSONL file to write; a killed run goes on")->required();
  command->add_option("--max-new-tokens", a.max_new_tokens, "cap of an answer")
      ->check(from(1))
      ->capture_default_str();
  add_temperature(command, a.temperature);
  add_top_p(command, a.top_p);
  command->add_option("--seed", a.seed, "of the draws at a temperature")->check(from(0));
  add_ranks(command, arguments,
            [&a] { return terms_of(load_config(a.config, a.overrides).config, "--output", a.output); });
  command->callback([&arguments] { arguments.run = stoppable(distill_command, arguments.distill, kGoesOn); });
}

void add_export(CLI::App& app, Arguments& arguments) {
  ExportArguments& a = arguments.exported;
  CLI::App* command = add_command(
      app, "export", "Write the heads as the decode engines read them, and check what was written",
      "Example:\n  gorgon export runs/quickstart --to hf --output exports/quickstart");
  command->add_option("RUN", a.heads, "run directory or checkpoint")->required();
  command->add_option("--to", "hf: TGI, TensorRT-LLM, vLLM 0.25 to 0.32")
      ->required()
      ->check(CLI::IsMember({"hf"}));
  command->add_option("--output", a.output, "new or empty directory")->required();
  command->add_option("--model", a.model, kModelHelp);
  command->callback(
      [&arguments] { arguments.run = stoppable(export_command, arguments.exported, kNothing); });
}

void add_generate(CLI::App& app, Arguments& arguments) {
  GenerateArguments& a = arguments.generate;
  CLI::App* command =
      add_command(app, "generate", "Answer a prompt with the heads; what they drafted is green",
                  "Example:\n  gorgon generate runs/quickstart --prompt \"List all ships\" --compare");
  command->add_option("EXPORT", a.heads, "export, run directory or checkpoint")->required();
  CLI::Option* prompt = command->add_option("--prompt", a.prompt, "what the user says");
  CLI::Option* chat = command->add_flag(
      "--chat", a.chat, "one line of stdin after the other; Ctrl-C ends an answer, then the chat");
  prompt->excludes(chat);
  command->callback([&arguments, prompt] {
    const bool is_blank = arguments.generate.prompt.find_first_not_of(" \t\r\n") == std::string::npos;
    if (is_blank && !arguments.generate.chat) {
      if (prompt->count() > 0) throw CLI::ValidationError("--prompt", "the prompt is empty");
      throw CLI::RequiredError("--prompt or --chat");
    }
    arguments.run = stoppable(generate_command, arguments.generate, "the answer ends here");
  });
  command->add_flag("--compare", a.compare, "decode without heads too, and print both speeds");
  command->add_flag("--lookup", a.lookup, "draft from the prompt as well");
  add_decoding(command, a);
  add_drafting(command, a);
  add_top_p(command, a.top_p);
}

void add_keys(CLI::App& app, Arguments& arguments) {
  CLI::App* command = add_command(app, "keys", "Print the table of all configuration keys (Markdown)",
                                  "Example:\n  gorgon keys");
  command->callback([&arguments] { arguments.run = [](Console&, RankGroup&) { return keys_command(); }; });
}

int parse_and_launch(int argc, const char* const* argv) {
  Arguments arguments;
  CLI::App app("Gorgon trains Medusa heads for a frozen language model.", "gorgon");
  app.set_version_flag(
      "--version", [] { return fmt::format("gorgon {}\n{}", GORGON_VERSION, instruction_set_text()); },
      "Print the version and the instruction sets that this chip computes with");
  app.require_subcommand(1);
  app.footer("Example:\n  gorgon train configs/quickstart.yaml\nExit status: docs/errors.md");
  add_prepare(app, arguments);
  add_plan(app, arguments);
  add_cache(app, arguments);
  add_train(app, arguments);
  add_eval(app, arguments);
  add_tree(app, arguments);
  add_distill(app, arguments);
  add_export(app, arguments);
  add_generate(app, arguments);
  add_keys(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return launch_environment_or_none().rank == 0 ? app.exit(help) : 0;
  } catch (const CLI::ParseError& error) {
    std::vector<std::string> commands;
    for (const CLI::App* command : app.get_subcommands({})) commands.push_back(command->get_name());
    const std::string misuse = describe_misuse(error.what(), argc > 1 ? argv[1] : "", commands);
    return report_before_meeting(launch_environment_or_none(), {"command line: " + misuse, ExitCode::config});
  }
  arguments.command = app.get_subcommands().front()->get_name();
  return launch(arguments, argc, argv);
}

}  // namespace

int run_command_line(int argc, const char* const* argv) {
  try {
    return parse_and_launch(argc, argv);
  } catch (...) {
    return report_before_meeting();
  }
}

}  // namespace gorgon
