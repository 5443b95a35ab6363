#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/chat_template.h"
#include "data/data_files.h"

namespace gorgon {

// A row that was tokenised elsewhere.
struct TokenRow {
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels;  // as many; the token itself or -100
};

// A row of a data set: a conversation, a text or tokens.
using Row = std::variant<std::vector<Message>, std::string, TokenRow>;

// Names that fields of rows have in the data, where they are not their own: "messages" -> "conversations".
using RowColumns = std::map<std::string, std::string>;
bool is_row_field(std::string_view name);  // messages, role, content, text, input_ids, labels

// One line of JSONL:
//   {"input_ids": [...], "labels": [...]}            labels may be missing (= input_ids)
//   {"messages": [{"role": ..., "content": ...}]}    roles: system, user, assistant, tool
//   {"text": "..."}
// The first of these keys that a row has counts; others ("id", "source", ...) are left alone. A field is
// looked for by its name in `columns`, then by its own. Throws
// Error(data) with file, line and field: no JSON, bad UTF-8, a missing or repeated key, another type or role,
// an id outside [0, vocabulary), a label that is neither the id nor -100.
Row parse_row(const DataLine& line, int64_t vocabulary, const RowColumns& columns = {});

}  // namespace gorgon
