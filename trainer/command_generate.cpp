#include <cstdio>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "data/unicode.h"
#include "kernels/error.h"
#include "model/decoder.h"
#include "trainer/answer_stream.h"
#include "trainer/commands.h"
#include "trainer/decode_inputs.h"
#include "trainer/stop_signal.h"

namespace gorgon {
namespace {

constexpr const char* kAccepted = "\033[32m";
constexpr const char* kReset = "\033[0m";

// Writes an answer as it comes. On a terminal what a draft got right is green: the rest was one token a step.
class AnswerPrinter {
 public:
  AnswerPrinter(const Tokenizer& tokenizer, bool colour) : stream_(tokenizer), colour_(colour) {}

  void operator()(std::span<const int32_t> tokens) {
    write(stream_.put(tokens.first(1)), false);
    write(stream_.put(tokens.subspan(1)), true);
    std::fflush(stdout);
  }
  void end() {
    write(stream_.end(), false);
    std::fputs("\n", stdout);
    std::fflush(stdout);  // before what goes to stderr
  }

 private:
  void write(const std::string& text, bool accepted) const {
    if (text.empty()) return;
    if (colour_ && accepted) std::fputs(kAccepted, stdout);
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (colour_ && accepted) std::fputs(kReset, stdout);
  }

  AnswerStream stream_;
  bool colour_;
};

std::string speed_line(const std::string& name, const Answer& answer) {
  const auto tokens = static_cast<double>(answer.tokens.size());
  return fmt::format(
      "{}: {} tokens in {} steps, {:.2f} a step, {:.1f} tokens/s (prompt: {} new tokens in {:.2f} s)\n", name,
      answer.tokens.size(), answer.emitted.size(), tokens / static_cast<double>(answer.emitted.size()),
      tokens / answer.decode_seconds, answer.prefilled, answer.prefill_seconds);
}

// Everything that stays the same from question to question.
struct Session {
  const DecodeInputs& inputs;
  DecoderOptions options;
  bool compare;
};

// What a chat goes on from, in the cache of each way to decode.
struct Memory {
  KeptText drafted, plain;
};

// Plain decoding beside an answer, and both speeds.
void compare(const Session& session, const Prompt& prompt, const Answer& answer, KeptText& kept) {
  DecoderOptions plain = session.options;
  plain.tree = chain_tree(0);
  plain.lookup = false;
  Decoder plainly(session.inputs.backbone, nullptr, plain, session.inputs.stream);
  const Answer alone = plainly.answer(prompt.tokens, {}, &kept);
  const double speedup = alone.decode_seconds / static_cast<double>(alone.tokens.size()) /
                         (answer.decode_seconds / static_cast<double>(answer.tokens.size()));
  fmt::print("{}{}{:.2f} times as fast, {}\n", speed_line("plain ", alone), speed_line("medusa", answer),
             speedup,
             session.options.temperature > 0 ? "sampled: not comparable"
             : alone.tokens == answer.tokens ? "the same tokens"
                                             : "other tokens");
}

struct Said {
  std::string text;
  bool is_whole = true;  // false: stopped on request, before the answer or its comparison was done
};

Said answer_prompt(const Session& session, const Prompt& prompt, Memory& memory) {
  const Tokenizer& tokenizer = session.inputs.text.tokenizer;
  AnswerPrinter printer(tokenizer, wants_colour(stdout));
  std::vector<int32_t> said;
  bool is_whole = true;
  std::optional<Answer> answer;
  Decoder decoder(session.inputs.backbone, &session.inputs.heads, session.options, session.inputs.stream);
  const auto say = [&](const DecodeRequest&, std::span<const int32_t> tokens) {
    said.insert(said.end(), tokens.begin(), tokens.end());
    printer(tokens);
  };
  try {
    answer = decoder.answer(prompt.tokens, say, &memory.drafted);
  } catch (const Stopped&) {
    is_whole = false;
  }
  printer.end();
  try {
    if (answer && session.compare) compare(session, prompt, *answer, memory.plain);
  } catch (const Stopped&) {
    is_whole = false;
  }
  return {answer_text(tokenizer, said), is_whole};
}

void require_typed_text(const std::string& what, const std::string& line) {
  const auto place = find_invalid_utf8(line);
  if (!place) return;
  fail(ExitCode::data,
       {at_byte(what, *place), "", "valid UTF-8", quote_value(line.substr(*place, 1)), "type it again"});
}

// The next line that is asked. A person who types has Ctrl-C for the answer at work, which it has ended by
// now, and for the program here; any other signal, or one to a chat that reads a file, ends the chat.
bool read_line(bool typed, StopSignal& stop, std::string& line) {
  if (stop.requested() && !(typed && stop.is_interrupt())) throw Stopped();
  stop.rest();  // before anybody sees that it is their turn
  if (typed) fmt::print(stderr, "> ");
  const bool is_read = static_cast<bool>(std::getline(std::cin, line));
  stop.listen();
  return is_read;
}

// A line that cannot be asked is said to be so, and forgotten. What was said of an answer that Ctrl-C ended
// is part of what the model is asked next.
void chat(const Session& session, StopSignal& stop, Console& console) {
  const TextModel& text = session.inputs.text;
  std::vector<Message> messages;
  Memory memory;
  std::string line;
  const bool typed = ::isatty(STDIN_FILENO) != 0;
  while (read_line(typed, stop, line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const size_t before = messages.size();
    try {
      require_typed_text("the line", line);
      messages.push_back({"user", line});
      const Said answer = answer_prompt(session, make_prompt(messages, text), memory);
      // A cap or a person may have cut it inside a character.
      messages.push_back({"assistant", replace_invalid_utf8(answer.text)});
      if (!answer.is_whole && answer.text.empty()) messages.resize(before);
    } catch (const Error& error) {
      if (error.code() != ExitCode::data) throw;
      messages.resize(before);
      console.warn(error.what());
    }
  }
  if (typed) fmt::print(stderr, "\n");
}

}  // namespace

int generate_command(const GenerateArguments& arguments, Console& console, StopSignal& stop) {
  require_typed_text("--prompt", arguments.prompt);
  require_readable({}, arguments.tree);
  const DecodeInputs inputs(arguments.heads, arguments.model, arguments.dtype, arguments.heads_dtype, console,
                            &stop);
  DecoderOptions options;
  options.tree = find_tree(inputs.found, arguments.tree, inputs.heads.count(), console);
  options.lookup = arguments.lookup;
  options.max_new_tokens = arguments.max_new_tokens;
  options.stop_tokens = stop_tokens(inputs.text);
  options.temperature = arguments.temperature;
  options.top_p = arguments.top_p;
  options.seed = arguments.seed;
  const Session session{inputs, options, arguments.compare};
  if (arguments.chat) {
    chat(session, stop, console);
  } else {
    Memory memory;
    const Prompt prompt = make_prompt({{"user", arguments.prompt}}, inputs.text);
    if (!answer_prompt(session, prompt, memory).is_whole) throw Stopped();
  }
  return 0;
}

}  // namespace gorgon
