// `gorgon generate --chat` as a person has it: on a terminal, with Ctrl-C.
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/trainer/trained_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kCtrlC = "\x03";
constexpr const char* kPrompt = "\r\n> ";

// The program on a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments)
      : keyboard_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    if (keyboard_ < 0 || ::grantpt(keyboard_) != 0 || ::unlockpt(keyboard_) != 0)
      throw std::runtime_error("no terminal");
    const std::string name = ::ptsname(keyboard_);
    std::vector<std::string> all{GORGON_PROGRAM};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& argument : all) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    process_ = ::fork();
    if (process_ < 0) throw std::runtime_error("fork failed");
    if (process_ != 0) return;
    ::setsid();
    const int screen = ::open(name.c_str(), O_RDWR);
    ::ioctl(screen, TIOCSCTTY, 0);
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(screen, stream);
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  ~Terminal() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    ::close(keyboard_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& text) {
    ASSERT_EQ(::write(keyboard_, text.data(), text.size()), std::ssize(text));
  }
  // What came up to and with `text`, and at least `bytes` of it.
  std::string read_until(const std::string& text, size_t bytes = 0) {
    size_t end = shown_.find(text);
    while (end == std::string::npos || shown_.size() < bytes) {
      if (!read_more()) {
        ADD_FAILURE() << "waited for " << text << " behind:\n" << shown_;
        return "";
      }
      end = shown_.find(text);
    }
    end = std::max(end + text.size(), bytes);
    const std::string read = shown_.substr(0, end);
    shown_.erase(0, end);
    return read;
  }
  bool running() {
    siginfo_t info = {};
    ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == 0;
  }
  int wait() {  // exit status, or -signal
    while (read_more()) {
    }
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  const std::string& rest() const { return shown_; }
  pid_t process() const { return process_; }

 private:
  // False where nothing comes any more: the program ended, or hangs.
  bool read_more() {
    constexpr int kHang = 120'000;  // ms
    pollfd waiting{keyboard_, POLLIN, 0};
    char bytes[4096];
    const ssize_t count =
        ::poll(&waiting, 1, kHang) > 0 ? ::read(keyboard_, bytes, sizeof bytes) : ssize_t{0};
    if (count > 0) shown_.append(bytes, static_cast<size_t>(count));
    return count > 0;
  }

  int keyboard_;
  pid_t process_ = -1;
  std::string shown_;
};

// A model whose context has room for answers that nobody waits for.
class Chat : public TrainedRun {
 protected:
  static void SetUpTestSuite() {
    TrainedRun::SetUpTestSuite();
    fs::copy(at("model"), at("patient"), fs::copy_options::recursive);
    const std::string from = R"("max_position_embeddings": 128)";
    std::string config = file_text(at("model/config.json"));
    ASSERT_NE(config.find(from), std::string::npos);
    config.replace(config.find(from), from.size(), R"("max_position_embeddings": 100000)");
    std::ofstream(at("patient/config.json")) << config;
  }
  static std::vector<std::string> chat() {
    return {"generate", at("run"), "--chat", "--model", at("patient"), "--max-new-tokens", "90000"};
  }
};

TEST_F(Chat, CtrlCEndsTheAnswerAndThenTheProgram) {
  Terminal terminal(chat());
  terminal.read_until("> ");
  for (const std::string line : {"one", "two three"}) {  // the chat goes on from what was said
    terminal.type(line + "\n");
    terminal.read_until("\r\n", 300);  // the line itself, and the beginning of an answer
    EXPECT_TRUE(terminal.running());
    terminal.type(kCtrlC);
    EXPECT_THAT(terminal.read_until(kPrompt), Not(HasSubstr("stopped by")));
    EXPECT_TRUE(terminal.running());
  }
  terminal.type(kCtrlC);
  EXPECT_EQ(terminal.wait(), -SIGINT);
}

TEST_F(Chat, SigtermEndsTheProgramInTheMidstOfAnAnswer) {
  Terminal terminal(chat());
  terminal.read_until("> ");
  terminal.type("one\n");
  terminal.read_until("\r\n", 300);
  ::kill(terminal.process(), SIGTERM);
  EXPECT_EQ(terminal.wait(), 75);
  EXPECT_THAT(terminal.rest(), HasSubstr("stopped by SIGTERM; the answer ends here\r\n"));
}

TEST_F(Chat, TheEndOfInputEndsTheProgram) {
  Terminal terminal(chat());
  terminal.read_until("> ");
  terminal.type("\x04");  // Ctrl-D
  EXPECT_EQ(terminal.wait(), 0);
}

// What is asked on the command line has no prompt to go back to.
TEST_F(Chat, CtrlCEndsASingleAnswer) {
  std::vector<std::string> arguments = chat();
  arguments[2] = "--prompt=one";
  Terminal terminal(arguments);
  terminal.read_until("", 300);
  terminal.type(kCtrlC);
  EXPECT_EQ(terminal.wait(), 75);
  EXPECT_THAT(terminal.rest(), HasSubstr("stopped by SIGINT; the answer ends here\r\n"));
}

}  // namespace
}  // namespace gorgon
