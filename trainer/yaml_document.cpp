#include "trainer/yaml_document.h"

#include <sstream>

// The only file that knows yaml-cpp. Its node API hides what has to be an error (a key twice: the first wins;
// further documents: not read), so values are built from its parse events.
#include <utf8proc.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

// Byte at which every line of the text starts.
std::vector<size_t> line_starts(std::string_view text) {
  std::vector<size_t> starts{0};
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') starts.push_back(i + 1);
  }
  return starts;
}

// Where a text comes from: a file with lines, or an argument of the command line without.
struct Source {
  std::string name;
  bool has_lines;
  std::string key;  // of an argument

  std::string place(const YAML::Mark& mark) const {
    return mark.is_null() || !has_lines ? name : at_line(name, mark.line + 1, mark.column + 1);
  }
};

// Builds YamlValues from parse events.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view text, const Source& source)
      : text_(text), source_(source), starts_(line_starts(text)) {}

  std::vector<YamlValue> documents;
  std::vector<YAML::Mark> document_marks;

  // Says where the library stopped and why, in words that need no knowledge of it.
  [[noreturn]] void refuse_syntax(const YAML::Exception& error) const {
    const bool ends_early =
        error.msg == YAML::ErrorMsg::END_OF_SEQ_FLOW || error.msg == YAML::ErrorMsg::END_OF_MAP_FLOW;
    if (ends_early && !stack_.empty() && stack_.back().bracket != 0) {
      const char open = stack_.back().bracket;
      refuse(stack_.back().mark, std::string("a ") + (open == '[' ? ']' : '}') + " behind its " + open,
             "none", "close the bracket");
    }
    const std::string_view line = line_at(error.mark);
    const size_t first = line.find_first_not_of(' ');
    if (first != std::string_view::npos && line[first] == '\t') {
      refuse(error.mark, "spaces before a key", "a tab", "indent with spaces");
    }
    if (error.msg == YAML::ErrorMsg::MAP_VALUE) {
      refuse(error.mark, "one `key: value` a line", quote_value(line),
             "put a value that holds a colon between quotes");
    }
    refuse(error.mark, "`key: value`", quote_value(line), "check indentation, quotes and brackets here");
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    document_marks.push_back(mark);
    documents.emplace_back();
    stack_.assign(1, Frame{&documents.back(), false, "", 0, mark});
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add(YamlValue{}, mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "values written out", "an alias (*name)", "write the value itself");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    // yaml-cpp's own tags: "?" for plain scalars, "!" for quoted and block ones.
    if (tag != "?" && tag != "!" && !tag.empty()) refuse_tag(mark, tag);
    YamlValue scalar;
    scalar.kind = YamlValue::Kind::scalar;
    scalar.text = value;
    scalar.quoted = tag == "!";
    if (scalar.quoted) check_closed_quote(mark);
    const bool null_word =
        value.empty() || value == "~" || value == "null" || value == "Null" || value == "NULL";
    if (!scalar.quoted && null_word) scalar.kind = YamlValue::Kind::null;
    add(std::move(scalar), mark);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value style) override {
    open(YamlValue::Kind::list, mark, tag, style == YAML::EmitterStyle::Flow ? '[' : '\0');
  }
  void OnSequenceEnd() override { stack_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value style) override {
    open(YamlValue::Kind::map, mark, tag, style == YAML::EmitterStyle::Flow ? '{' : '\0');
  }
  void OnMapEnd() override { stack_.pop_back(); }

 private:
  struct Frame {
    YamlValue* value;
    bool has_key;  // a map's next value belongs to `key`
    std::string key;
    char bracket;  // [ or { that opened it; 0 = none
    YAML::Mark mark;
  };

  std::string_view line_at(const YAML::Mark& mark) const {
    if (mark.is_null() || static_cast<size_t>(mark.line) >= starts_.size()) return {};
    const std::string_view rest = text_.substr(starts_[static_cast<size_t>(mark.line)]);
    return rest.substr(0, rest.find('\n'));
  }

  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& expected, const std::string& found,
                           const std::string& remedy) const {
    fail(ExitCode::config, {source_.place(mark), source_.key, expected, found, remedy});
  }
  [[noreturn]] void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    refuse(mark, "plain values", "the tag " + quote_value(tag), "remove the tag");
  }

  // Puts a value where the parser stands; returns where it now lives.
  YamlValue* add(YamlValue value, const YAML::Mark& mark) {
    value.line = mark.line + 1;
    value.place = source_.place(mark);
    Frame& frame = stack_.back();
    YamlValue& parent = *frame.value;
    if (stack_.size() == 1) {
      parent = std::move(value);
      return &parent;
    }
    if (parent.kind == YamlValue::Kind::list) {
      parent.items.push_back(std::move(value));
      return &parent.items.back();
    }
    if (frame.has_key) {
      frame.has_key = false;
      parent.entries.push_back({frame.key, std::move(value)});
      return &parent.entries.back().value;
    }
    take_key(frame, value, mark);
    return nullptr;
  }

  void take_key(Frame& frame, const YamlValue& key, const YAML::Mark& mark) const {
    if (key.kind != YamlValue::Kind::scalar) refuse(mark, "a name as key", "another kind of value", "");
    for (size_t i = 0; i < frame.value->entries.size(); ++i) {
      if (frame.value->entries[i].key != key.text) continue;
      fail(ExitCode::config, {source_.place(mark), quote_value(key.text), "every key once",
                              "it in line " + std::to_string(frame.value->entries[i].value.line) +
                                  " and again in line " + std::to_string(mark.line + 1),
                              "remove one of them"});
    }
    frame.has_key = true;
    frame.key = key.text;
  }

  void open(YamlValue::Kind kind, const YAML::Mark& mark, const std::string& tag, char bracket) {
    if (tag != "?" && tag != "!" && !tag.empty()) refuse_tag(mark, tag);
    if (stack_.size() > static_cast<size_t>(kMaxYamlDepth)) {
      refuse(mark, "at most " + std::to_string(kMaxYamlDepth) + " levels", "more", "");
    }
    YamlValue value;
    value.kind = kind;
    YamlValue* placed = add(std::move(value), mark);
    if (placed == nullptr) refuse(mark, "a name as key", "a list or a map", "");
    stack_.push_back(Frame{placed, false, "", bracket, mark});
  }

  // yaml-cpp takes the end of the file for the end of a quoted scalar.
  void check_closed_quote(const YAML::Mark& mark) const {
    if (mark.line < 0 || static_cast<size_t>(mark.line) >= starts_.size()) return;
    size_t i = starts_[static_cast<size_t>(mark.line)] + static_cast<size_t>(mark.column);
    const size_t begin = i;
    if (i >= text_.size() || (text_[i] != '"' && text_[i] != '\'')) return;  // a block scalar
    const char quote = text_[i];
    for (++i; i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\') {
        ++i;
      } else if (text_[i] == quote) {
        if (quote == '"' || i + 1 >= text_.size() || text_[i + 1] != quote) return;
        ++i;  // '' inside single quotes
      }
    }
    refuse(mark, "a closing quote",
           "the end of the file (the quote opens at byte " + std::to_string(begin) + ")", "close the quote");
  }

  std::string_view text_;
  const Source& source_;
  std::vector<size_t> starts_;
  std::vector<Frame> stack_;
};

// Byte of the first thing that is not UTF-8; npos where all is well.
size_t first_invalid_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  size_t i = 0;
  while (i < text.size()) {
    utf8proc_int32_t point = 0;
    const auto length = utf8proc_iterate(bytes + i, static_cast<utf8proc_ssize_t>(text.size() - i), &point);
    if (length <= 0) return i;
    i += static_cast<size_t>(length);
  }
  return std::string_view::npos;
}

void check_bytes(std::string_view text, const std::string& file) {
  if (text.size() > kMaxYamlBytes) {
    fail(ExitCode::config, {file, "", "at most " + std::to_string(kMaxYamlBytes) + " bytes",
                            std::to_string(text.size()) + " bytes", "is this a YAML file?"});
  }
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos) {
    fail(ExitCode::config, {at_byte(file, nul), "", "text", "a NUL byte", "is this a YAML file?"});
  }
  const size_t bad = first_invalid_utf8(text);
  if (bad != std::string_view::npos) {
    fail(ExitCode::config,
         {at_byte(file, bad), "", "UTF-8", quote_value(text.substr(bad, 1)), "save the file as UTF-8"});
  }
}

std::vector<YamlValue> parse_documents(std::string_view text, const Source& source) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  Builder builder(text, source);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    builder.refuse_syntax(error);
  }
  if (builder.documents.size() > 1) {
    fail(ExitCode::config,
         {source.place(builder.document_marks[1]), "", "one document",
          std::to_string(builder.documents.size()) + " documents", "keep one; --- starts a new one"});
  }
  return std::move(builder.documents);
}

}  // namespace

YamlValue parse_yaml(std::string_view text, const std::string& file) {
  check_bytes(text, file);
  std::vector<YamlValue> documents = parse_documents(text, Source{file, true, ""});
  const auto kind = documents.empty() ? YamlValue::Kind::null : documents.front().kind;
  if (kind != YamlValue::Kind::map) {
    const char* found = kind == YamlValue::Kind::null   ? "nothing"
                        : kind == YamlValue::Kind::list ? "a list"
                                                        : "a single value";
    fail(ExitCode::config,
         {at_line(file, 1, 1), "", "a map (key: value)", found, "configs/quickstart.yaml is an example"});
  }
  return std::move(documents.front());
}

YamlValue parse_yaml_value(std::string_view text, const std::string& place, const std::string& key) {
  check_bytes(text, place);
  // As it would stand in a file: the same syntax, the same errors.
  const std::string line = "value: " + std::string(text);
  std::vector<YamlValue> documents = parse_documents(line, Source{place, false, key});
  if (documents.empty() || documents.front().entries.size() != 1) {
    fail(ExitCode::config, {place, key, "one value", quote_value(text), ""});
  }
  return std::move(documents.front().entries.front().value);
}

}  // namespace gorgon
