#pragma once

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace gorgon {

// What a person sees on stderr: log lines, and the progress of long work as a bar on a terminal, as a plain
// line every ten seconds elsewhere. Results go to stdout and not through here.
class Console {
 public:
  explicit Console(std::FILE* stream = stderr);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  // Ranks of a job: only the first shows anything (`shown`), and each keeps a log of its own, which holds its
  // lines from here on once it has a place.
  void begin_rank_log(bool shown);
  // DIRECTORY/rank-R.log; appends. Error(resource)
  void place_rank_log(const std::filesystem::path& directory, int rank);
  // A line for the log alone; safe beside everything else, from any thread.
  void log_error(std::string_view text) const;
  bool is_shown() const { return shown_; }

  void info(std::string_view text);
  void warn(std::string_view text);
  void announce(std::string_view text);  // shown whichever rank says it

  bool is_terminal() const { return terminal_; }
  int width() const;  // columns of the terminal; 80 where that is unknown

  // Draws `line` in place of the last one (terminals), or logs it when the last one is ten seconds old. Lines
  // wider than the terminal are cut.
  void progress(const std::string& line, bool is_last);
  void end_progress();  // takes the bar off the terminal

 private:
  void log(const char* level, std::string_view text);
  template <typename Write>
  void above_bar(const Write& write);
  void draw(const std::string& line);

  std::FILE* stream_;
  bool terminal_;
  bool shown_ = true, logging_ = false;
  std::atomic<int> log_{-1};
  std::string unplaced_;  // lines of the log that has no place yet
  std::shared_ptr<spdlog::logger> logger_;
  std::string drawn_;  // the line on the terminal
  std::chrono::steady_clock::time_point last_;
};

// Progress of `total` pieces of work that began with the object's life.
class Progress {
 public:
  Progress(Console& console, std::string label, int64_t total, int64_t already_done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Before the first update: where the count begins, and how many pieces are always at work at once, of which
  // half is taken for done when the time left is estimated.
  void begin_at(int64_t already_done, int64_t at_once);
  // `text`: what else to show ("loss 3.214  812 rows/s").
  void update(int64_t done, const std::string& text);

 private:
  void draw(const std::string& time, bool is_last);

  Console& console_;
  std::string label_;
  int64_t total_, first_, done_, at_once_ = 0;
  std::string text_;
  std::chrono::steady_clock::time_point start_;
};

using CountProgress = std::function<void(int64_t done)>;
// Work of several stages, announced one after the other: "answers", of which there are `count`.
using StageProgress = std::function<CountProgress(const std::string& name, int64_t count)>;
// A bar for each; the last one goes with the last copy of what is returned. `console` has to outlive it.
StageProgress stage_bars(Console& console);

// "1 step", "2 steps".
std::string count_of(int64_t count, const std::string& thing);
// Whether what is written to `stream` may be coloured: a terminal, and NO_COLOR is not set (or empty).
bool wants_colour(std::FILE* stream);

// "42s", "3m12s", "2h05m".
std::string format_duration(double seconds);
// "train 12/276 [=====      ] loss 3.2  3m12s left", at most `width` columns; where they are few the bar is
// left out first, and then the text.
std::string format_progress(const std::string& label, int64_t done, int64_t total, const std::string& text,
                            const std::string& time, int width);

}  // namespace gorgon
