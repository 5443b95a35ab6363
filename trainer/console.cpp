#include "trainer/console.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlainLine = std::chrono::seconds(10);

std::shared_ptr<spdlog::logger> make_logger(std::FILE* stream) {
  auto sink = std::make_shared<spdlog::sinks::stdout_sink_base<spdlog::details::console_nullmutex>>(stream);
  auto logger = std::make_shared<spdlog::logger>("gorgon", std::move(sink));
  logger->set_pattern("%H:%M:%S %l: %v");
  logger->flush_on(spdlog::level::trace);
  return logger;
}

std::string log_line(const char* level, std::string_view text) {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  ::localtime_r(&now, &local);
  char clock[16] = {};
  std::strftime(clock, sizeof clock, "%H:%M:%S", &local);
  return fmt::format("{} {}: {}\n", clock, level, text);
}

// At most `count` bytes, never part of a character: names of data files may be any UTF-8.
std::string first_bytes(const std::string& text, size_t count) {
  if (text.size() <= count) return text;
  while (count > 0 && (static_cast<unsigned char>(text[count]) & 0xc0u) == 0x80u) --count;
  return text.substr(0, count);
}

}  // namespace

Console::Console(std::FILE* stream)
    : stream_(stream), terminal_(::isatty(::fileno(stream)) != 0), logger_(make_logger(stream)) {}

Console::~Console() {
  end_progress();
  if (log_ >= 0) ::close(log_);
}

void Console::begin_rank_log(bool shown) {
  shown_ = shown;
  logging_ = true;
}

void Console::place_rank_log(const std::filesystem::path& directory, int rank) {
  const std::filesystem::path path = directory / fmt::format("rank-{}.log", rank);
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0) {
    fail(ExitCode::resource, {path.string(), "", "a file that can be written", std::strerror(errno),
                              "choose another output_dir"});
  }
  write_all(file, unplaced_.data(), unplaced_.size(), path);
  unplaced_.clear();
  log_ = file;
}

void Console::log(const char* level, std::string_view text) {
  if (!logging_) return;
  const std::string line = log_line(level, text);
  if (log_ < 0) {
    unplaced_ += line;
  } else if (::write(log_, line.data(), line.size()) < 0) {
    logging_ = false;  // a full disk fails where something is saved
  }
}

void Console::log_error(std::string_view text) const {
  const std::string line = log_line("error", text);
  if (log_ >= 0 && ::write(log_, line.data(), line.size()) < 0) return;
}

// A bar on the terminal makes way for the line and comes back under it.
template <typename Write>
void Console::above_bar(const Write& write) {
  const std::string bar = drawn_;
  end_progress();
  write();
  if (!bar.empty()) draw(bar);
}

void Console::info(std::string_view text) {
  log("info", text);
  if (!shown_) return;
  above_bar([&] { logger_->info(text); });
}

void Console::warn(std::string_view text) {
  log("warning", text);
  if (!shown_) return;
  above_bar([&] { logger_->warn(text); });
}

void Console::announce(std::string_view text) {
  log("info", text);
  above_bar([&] { logger_->info(text); });
}

// In one write, erasing only what the new line does not cover: nothing flickers.
void Console::draw(const std::string& line) {
  drawn_ = line;
  std::fprintf(stream_, "\r%s\x1b[K", line.c_str());
  std::fflush(stream_);
}

int Console::width() const {
  winsize size = {};
  if (::ioctl(::fileno(stream_), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void Console::end_progress() {
  if (drawn_.empty()) return;
  std::fputs("\r\x1b[K", stream_);
  std::fflush(stream_);
  drawn_.clear();
}

void Console::progress(const std::string& line, bool is_last) {
  if (!shown_) return;
  const auto now = Clock::now();
  const bool due =
      is_last || now - last_ >= (terminal_ ? Clock::duration(kRedraw) : Clock::duration(kPlainLine));
  if (!due) return;
  last_ = now;
  if (!terminal_) {
    logger_->info(line);
    return;
  }
  draw(line);
  if (!is_last) return;
  std::fputc('\n', stream_);
  std::fflush(stream_);
  drawn_.clear();
}

Progress::Progress(Console& console, std::string label, int64_t total, int64_t already_done)
    : console_(console),
      label_(std::move(label)),
      total_(total),
      first_(already_done),
      done_(already_done),
      start_(Clock::now()) {
  if (console_.is_terminal() && done_ < total_) draw("", false);
}

Progress::~Progress() {
  if (done_ < total_ || done_ == first_) {
    console_.end_progress();  // stopped in its midst
    return;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  try {
    draw("in " + format_duration(seconds), true);
  } catch (const std::exception&) {
    // no memory for a line that nothing depends on
  }
}

void Progress::draw(const std::string& time, bool is_last) {
  const int width = console_.is_terminal() ? console_.width() : 200;
  console_.progress(format_progress(label_, done_, total_, text_, time, width), is_last);
}

void Progress::begin_at(int64_t already_done, int64_t at_once) {
  first_ = done_ = already_done;
  at_once_ = at_once;
}

void Progress::update(int64_t done, const std::string& text) {
  done_ = done;
  text_ = text;
  if (done_ >= total_) return;  // the destructor draws the last one
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double half_done = static_cast<double>(std::min(at_once_, total_ - done_)) / 2;
  const double in_this_run = static_cast<double>(done_ - first_) + half_done;
  const double left = static_cast<double>(total_ - done_) - half_done;
  draw(in_this_run > 0 ? format_duration(seconds / in_this_run * left) + " left" : "", false);
}

StageProgress stage_bars(Console& console) {
  const auto bar = std::make_shared<std::unique_ptr<Progress>>();
  return [&console, bar](const std::string& name, int64_t count) -> CountProgress {
    bar->reset();
    *bar = std::make_unique<Progress>(console, name, count);
    return [bar](int64_t done) { (*bar)->update(done, ""); };
  };
}

std::string count_of(int64_t count, const std::string& thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

bool wants_colour(std::FILE* stream) {
  const char* refused = std::getenv("NO_COLOR");  // no-color.org
  return (refused == nullptr || *refused == '\0') && ::isatty(::fileno(stream)) != 0;
}

std::string format_duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

std::string format_progress(const std::string& label, int64_t done, int64_t total, const std::string& text,
                            const std::string& time, int width) {
  const std::string head = fmt::format("{} {}/{}", label, done, total);
  const std::string all = text + (text.empty() || time.empty() ? "" : "  ") + time;
  const int most = std::max(width - 1, 1);                                 // but for the last column
  const int room = most - static_cast<int>(head.size() + all.size()) - 5;  // " [" "] "
  std::string line = head + "  " + all;
  if (room >= 8) {
    const int cells = std::min(room, 30);
    const auto filled = static_cast<size_t>(total > 0 ? cells * done / total : 0);
    line = head + " [" + std::string(filled, '=') + std::string(static_cast<size_t>(cells) - filled, ' ') +
           "] " + all;
  } else if (std::cmp_greater(line.size(), most)) {
    line = head + "  " + time;
  }
  return first_bytes(line, static_cast<size_t>(most));
}

}  // namespace gorgon
