#include "data/conversations.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "data/json.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

constexpr std::array<std::string_view, 6> kFields = {"messages", "role",      "content",
                                                     "text",     "input_ids", "labels"};
constexpr std::array<std::string_view, 4> kRoles = {"system", "user", "assistant", "tool"};

[[noreturn]] void bad_row(const DataLine& line, const std::string& key, const std::string& expected,
                          const std::string& found, const std::string& remedy = "") {
  fail(ExitCode::data, {.place = at_line(line.file, line.number),
                        .key = key,
                        .expected = expected,
                        .found = found,
                        .remedy = remedy});
}

std::string describe(const Json& value) {
  if (value.is_string()) return "the string " + quote_value(value.get_ref<const std::string&>());
  if (value.is_number()) return "the number " + value.dump();
  return std::string("a value of type ") + value.type_name();
}

std::string keys_of(const Json& object) {
  std::string keys;
  for (const auto& item : object.items()) keys += (keys.empty() ? "" : ", ") + item.key();
  return keys.empty() ? "no key" : "keys " + quote_value(keys);
}

// Finds the fields of a row by their names in the data, else by their own.
class FieldNames {
 public:
  explicit FieldNames(const RowColumns& columns) : columns_(columns) {}

  std::string in_data(const std::string& field) const {
    const auto renamed = columns_.find(field);
    return renamed == columns_.end() ? field : renamed->second;
  }
  Json::const_iterator find(const Json& object, const std::string& field) const {
    const auto found = object.find(in_data(field));
    return found == object.end() ? object.find(field) : found;
  }

 private:
  const RowColumns& columns_;
};

const std::string& string_field(const Json& object, const std::string& field, const std::string& key,
                                const FieldNames& names, const DataLine& line) {
  const auto it = names.find(object, field);
  if (it == object.end()) bad_row(line, key, "the key \"" + names.in_data(field) + "\"", keys_of(object));
  if (!it->is_string()) bad_row(line, key + (key.empty() ? "" : ".") + field, "a string", describe(*it));
  return it->get_ref<const std::string&>();
}

std::vector<Message> parse_messages(const Json& list, const FieldNames& names, const DataLine& line) {
  if (!list.is_array()) bad_row(line, "messages", "a list of messages", describe(list));
  std::vector<Message> messages;
  for (const Json& item : list) {
    const std::string key = "messages[" + std::to_string(messages.size()) + "]";
    if (!item.is_object()) bad_row(line, key, "an object with role and content", describe(item));
    Message message{string_field(item, "role", key, names, line),
                    string_field(item, "content", key, names, line)};
    if (std::find(kRoles.begin(), kRoles.end(), message.role) == kRoles.end()) {
      bad_row(line, key + ".role", "system, user, assistant or tool", quote_value(message.role));
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

// Integers in [lowest, vocabulary).
std::vector<int32_t> parse_ids(const Json& list, const std::string& name, bool masked, int64_t vocabulary,
                               const DataLine& line) {
  if (!list.is_array()) bad_row(line, name, "a list of token ids", describe(list));
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& item : list) {
    const bool small =
        item.is_number_integer() && (!item.is_number_unsigned() || item.get<uint64_t>() < 1u << 31);
    const int64_t id = small ? item.get<int64_t>() : -1;
    if (!small || ((id < 0 || id >= vocabulary) && !(masked && id == -100))) {
      bad_row(line, name + "[" + std::to_string(ids.size()) + "]",
              "an id in [0, " + std::to_string(vocabulary) + ")" + (masked ? " or -100" : ""), describe(item),
              "tokenise the rows with the tokenizer of this model");
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

TokenRow parse_tokens(const Json& row, const Json& ids, const FieldNames& names, int64_t vocabulary,
                      const DataLine& line) {
  TokenRow out;
  out.tokens = parse_ids(ids, "input_ids", false, vocabulary, line);
  const auto labels = names.find(row, "labels");
  if (labels == row.end()) {
    out.labels = out.tokens;
    return out;
  }
  out.labels = parse_ids(*labels, "labels", true, vocabulary, line);
  if (out.labels.size() != out.tokens.size()) {
    bad_row(line, "labels", std::to_string(out.tokens.size()) + " labels, as many as input_ids",
            std::to_string(out.labels.size()));
  }
  for (size_t i = 0; i < out.labels.size(); ++i) {
    if (out.labels[i] == -100 || out.labels[i] == out.tokens[i]) continue;
    bad_row(line, "labels[" + std::to_string(i) + "]",
            "-100 or the id " + std::to_string(out.tokens[i]) + " of input_ids",
            std::to_string(out.labels[i]), "labels are not shifted");
  }
  return out;
}

}  // namespace

bool is_row_field(std::string_view name) {
  return std::find(kFields.begin(), kFields.end(), name) != kFields.end();
}

Row parse_row(const DataLine& line, int64_t vocabulary, const RowColumns& columns) {
  const Json row = parse_json(line.text, {.file = line.file,
                                          .line = line.number,
                                          .code = ExitCode::data,
                                          .max_depth = 64,
                                          .reject_duplicate_keys = true});
  if (!row.is_object()) bad_row(line, "", "an object", describe(row), "write one JSON object a line (JSONL)");
  const FieldNames names(columns);
  const auto ids = names.find(row, "input_ids"), messages = names.find(row, "messages");
  if (ids != row.end()) return parse_tokens(row, *ids, names, vocabulary, line);
  if (messages != row.end()) return parse_messages(*messages, names, line);
  if (names.find(row, "text") != row.end()) return string_field(row, "text", "", names, line);
  bad_row(line, "", "the key \"messages\", \"text\" or \"input_ids\"", keys_of(row),
          "rename the fields, or name them: columns: {messages: NAME}");
}

}  // namespace gorgon
