#include "trainer/launch.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <system_error>

#include "kernels/host_memory.h"
#include "kernels/instruction_set.h"
#include "trainer/local_ranks.h"
#include "trainer/rank_agreement.h"

namespace gorgon {
namespace {

constexpr const char* kUnprinted = "standard output: expected a place that takes what is printed, found ";
constexpr const char* kPrintElsewhere = "; free some space, or print to another place";

// What was printed has left the process: a full disk under a redirection is no success.
void check_printed() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw Error(ExitCode::resource, kUnprinted + std::string(std::strerror(errno)) + kPrintElsewhere);
}

std::string out_of_memory_line() {
  const std::optional<int64_t> free = free_host_bytes();
  return "out of memory" + (free ? ", " + std::to_string(*free >> 20) + " MiB free" : std::string()) +
         "; lower per_device_train_batch_size, max_seq_length or medusa_num_heads";
}

// Of the exception being handled.
Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.what(), error.code()};
  } catch (const std::bad_alloc&) {
    return {out_of_memory_line(), ExitCode::resource};
  } catch (const std::filesystem::filesystem_error& error) {
    return {error.path1().string() + ": " + error.code().message(), ExitCode::resource};
  } catch (const std::system_error& error) {  // of fmt::print
    if (std::ferror(stdout) == 0) return {error.what(), ExitCode::resource};
    return {kUnprinted + error.code().message() + kPrintElsewhere, ExitCode::resource};
  } catch (const std::exception& error) {
    return {std::string(error.what()) + "; this is a defect of gorgon, please report it", ExitCode::internal};
  }
}

void print_error(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
}

int report_error(Console& console, RankGroup& ranks, const Failure& failure) {
  console.log_error(failure.message);
  if (console.is_shown() || ranks.speaks_first()) {
    console.end_progress();
    print_error(failure.message);
  }
  ranks.fail(failure.message);
  return static_cast<int>(failure.code);
}

// Another rank is gone, so that this one's work will never end: the process ends here, whatever its main
// thread is at. What is being written has no final name yet. Called from the watch's thread.
[[noreturn]] void end_with_lost_rank(const Console& console, const std::string& line, bool speaks) {
  console.log_error(line);
  if (speaks) print_error(line);
  std::fflush(stderr);
  std::_Exit(static_cast<int>(ExitCode::peer));
}

std::unique_ptr<RankGroup> join_ranks(const LaunchEnvironment& launched, MeetingTerms terms,
                                      Console& console) {
  if (launched.size == 1) return std::make_unique<RankGroup>();
  console.begin_rank_log(launched.rank == 0);
  terms.say = [&console](const std::string& line) { console.announce(line); };
  terms.complain = print_error;
  return std::make_unique<RankGroup>(launched, terms, [&console](const std::string& line, bool speaks) {
    end_with_lost_rank(console, line, speaks);
  });
}

// Runs what was parsed; every exception ends here.
int run(const Launch& arguments, const LaunchEnvironment& launched) {
  MeetingTerms terms;
  try {
    if (launched.size > 1) terms = arguments.terms();
  } catch (...) {
    return report_before_meeting(launched, current_failure());
  }
  Console console;
  std::unique_ptr<RankGroup> ranks;
  try {
    ranks = join_ranks(launched, std::move(terms), console);
    check_same(*ranks, {{"command", arguments.command}}, ExitCode::config,
               "start all ranks with the same program and the same command");
    const int status = arguments.run(console, *ranks);
    check_printed();
    ranks->leave();
    return status;
  } catch (const NotMet& error) {
    if (!error.told()) print_error(error.what());
    return static_cast<int>(error.code());
  } catch (...) {
    const Failure failure = current_failure();
    if (ranks) return report_error(console, *ranks, failure);
    print_error(failure.message);
    return static_cast<int>(failure.code);
  }
}

LaunchEnvironment launch_environment() {
  return read_launch_environment([](const char* name) { return std::getenv(name); });
}

}  // namespace

int report_before_meeting(const LaunchEnvironment& launched, const Failure& failure) {
  if (launched.rank == 0) print_error(failure.message);
  bool told = false;
  try {
    told = launched.size > 1 && decline_to_join(launched, failure.message);
  } catch (const Error&) {
    // nobody to be met: what failed first is what counts
  }
  if (launched.rank != 0 && !told) print_error(failure.message);
  return static_cast<int>(failure.code);
}

int report_before_meeting() {
  return report_before_meeting(launch_environment_or_none(), current_failure());
}

int launch(const Launch& arguments, int argc, const char* const* argv) {
  LaunchEnvironment launched;
  try {
    launched = launch_environment();
    if (const char* name = std::getenv("GORGON_CPU_ISA")) limit_instruction_set(name);
    if (launched.size > 1 && !arguments.terms) {
      fail(ExitCode::config, {"command line", argv[1], "one process", std::to_string(launched.size),
                              "start it without mpirun, srun or torchrun"});
    }
    if (arguments.gpus > 1 && std::getenv(kLocalRanksVariable) == nullptr) {
      if (launched.size == 1) return run_local_ranks(arguments.gpus, argc, argv);
      fail(ExitCode::config, {"command line", "--gpus", "one launcher", "mpirun, srun or torchrun as well",
                              "leave --gpus out"});
    }
  } catch (...) {
    return report_before_meeting(launched, current_failure());
  }
  return run(arguments, launched);
}

LaunchEnvironment launch_environment_or_none() {
  try {
    return launch_environment();
  } catch (const Error&) {
    return {};
  }
}

}  // namespace gorgon
