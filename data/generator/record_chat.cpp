#include "data/generator/record_chat.h"

#include <algorithm>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/generator/scene.h"

namespace gorgon::generator {

namespace {

// Some of a theme's columns, in its order; the first one names the thing.
std::vector<Column> pick_columns(const Theme& theme, Dice& dice) {
  std::vector<size_t> others;
  for (size_t i = 1; i < theme.columns.size(); ++i) others.push_back(i);
  dice.shuffle(others);
  others.resize(std::min(others.size(), static_cast<size_t>(dice.between(3, 5))));
  std::sort(others.begin(), others.end());
  std::vector<Column> columns{theme.columns[0]};
  for (const size_t i : others) columns.push_back(theme.columns[i]);
  return columns;
}

struct Record {
  std::string lines, json;
};

Record make_record(const std::vector<Column>& columns, Dice& dice) {
  Record record{"", "{\n"};
  for (size_t i = 0; i < columns.size(); ++i) {
    const std::string value = random_value(columns[i], dice);
    const std::string words(columns[i].words);
    record.lines += "\n" + words + ": " + value;
    record.json += "  \"" + words + "\": " + (is_number(columns[i].kind) ? value : "\"" + value + "\"") +
                   (i + 1 < columns.size() ? ",\n" : "\n}");
  }
  return record;
}

}  // namespace

RecordChat make_record_chat(uint64_t seed, uint64_t number) {
  Dice dice(seed, number);
  const Theme& theme = dice.pick(themes());
  const std::vector<Column> columns = pick_columns(theme, dice);
  const std::string ask = "Write this " + std::string(theme.singular) + " as JSON.";
  Record example = make_record(columns, dice);
  Record record = make_record(columns, dice);
  return {ask + example.lines, std::move(example.json), ask + record.lines, std::move(record.json)};
}

std::string prompt_of(const RecordChat& chat) {
  return chat.example + "\n" + chat.example_answer + "\n" + chat.question;
}

std::string to_json_line(const RecordChat& chat) {
  using Json = nlohmann::ordered_json;
  const Json messages = {Json{{"role", "user"}, {"content", chat.example}},
                         Json{{"role", "assistant"}, {"content", chat.example_answer}},
                         Json{{"role", "user"}, {"content", chat.question}},
                         Json{{"role", "assistant"}, {"content", chat.answer}}};
  return Json{{"messages", messages}}.dump() + "\n";
}

}  // namespace gorgon::generator
