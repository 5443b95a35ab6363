#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace gorgon {

// Exit status of the program by kind of failure; the same numbers are documented in docs/errors.md.
enum class ExitCode : int {
  internal = 1,      // a defect of Gorgon
  config = 2,        // YAML, command line
  model = 3,         // model or tokenizer files
  data = 4,          // data sets and caches
  checkpoint = 5,    // run directories and checkpoints
  resource = 6,      // memory, disk, device
  peer = 7,          // another process of the job
  numeric = 8,       // non-finite numbers
  check_failed = 9,  // losslessness or export check
  preempted = 75,    // stopped by a signal, state saved
};

// The one exception type that reaches the user: one line that says where, what and what to do.
// what() has the form "PLACE: KEY: expected X, found Y; remedy" (parts that do not apply are left out).
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// Parts of an error line. `place` is FILE, FILE:LINE, FILE:LINE:COL or FILE@BYTE; use at_line / at_byte.
struct ErrorParts {
  std::string place;
  std::string key;       // the key, tensor or field concerned; may be empty
  std::string expected;  // may be empty
  std::string found;     // a value of the input goes through quote_value first
  std::string remedy;    // what the user can do; may be empty
};

[[noreturn]] void fail(ExitCode code, const ErrorParts& parts);

// A defect of the caller (wrong shape handed to an op): Error with ExitCode::internal.
[[noreturn]] void fail_internal(std::string_view where, const std::string& what);
inline void require(bool condition, std::string_view where, const char* what) {
  if (!condition) fail_internal(where, what);
}

std::string at_line(std::string_view file, long line, long column = 0);
std::string at_byte(std::string_view file, unsigned long long byte);

// A value from an input file, made fit for one line: control and invalid bytes escaped, at most 64
// characters.
std::string quote_value(std::string_view value);

}  // namespace gorgon
