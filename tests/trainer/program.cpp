#include "tests/trainer/program.h"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gorgon {
namespace {

std::filesystem::path temporary_file() {
  std::string name = (std::filesystem::temp_directory_path() / "gorgon-out-XXXXXX").string();
  const int descriptor = ::mkstemp(name.data());
  if (descriptor < 0) throw std::runtime_error("mkstemp failed");
  ::close(descriptor);
  return name;
}

}  // namespace

std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

Program::Program(const std::vector<std::string>& arguments) : out_(temporary_file()), err_(temporary_file()) {
  std::vector<std::string> all{GORGON_PROGRAM};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& argument : all) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  process_ = ::fork();
  if (process_ < 0)
    throw std::runtime_error("fork failed");  // a signal to process -1 would reach every process
  if (process_ != 0) return;
  ::dup2(::open(out_.c_str(), O_WRONLY | O_TRUNC), STDOUT_FILENO);
  ::dup2(::open(err_.c_str(), O_WRONLY | O_TRUNC), STDERR_FILENO);
  ::execv(pointers[0], pointers.data());
  ::_exit(127);
}

Program::~Program() {
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove(out_, ignored);
  std::filesystem::remove(err_, ignored);
}

void Program::signal(int number) {
  if (process_ <= 0) throw std::logic_error("no process to signal");
  ::kill(process_, number);
}

bool Program::running() {
  siginfo_t info = {};
  ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid == 0;
}

std::string Program::err_so_far() const {
  return file_text(err_);
}

ProgramResult Program::wait() {
  int status = 0;
  ::waitpid(process_, &status, 0);
  process_ = -1;
  ProgramResult result;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  result.out = file_text(out_);
  result.err = file_text(err_);
  return result;
}

ProgramResult run_program(const std::vector<std::string>& arguments) {
  Program program(arguments);
  return program.wait();
}

}  // namespace gorgon
