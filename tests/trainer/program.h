#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace gorgon {

// The real program as a real process.
struct ProgramResult {
  int status = -1;  // exit status, or -signal
  std::string out, err;
};

class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments);  // starts `gorgon ARGUMENTS...`
  ~Program();                                                   // kills it if it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number);
  bool running();
  std::string err_so_far() const;
  ProgramResult wait();

 private:
  pid_t process_ = -1;
  std::filesystem::path out_, err_;
};

ProgramResult run_program(const std::vector<std::string>& arguments);

std::string file_text(const std::filesystem::path& path);  // "" when there is none

}  // namespace gorgon
