#include "data/generator/text_to_sql.h"

#include <array>
#include <initializer_list>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "data/generator/scene.h"

namespace gorgon::generator {

namespace {

constexpr std::string_view kInstruction =
    "You translate questions in English into SQL. Answer with one query for the tables below and nothing "
    "else.\nSCHEMA:\n";

struct Query {
  std::string question, sql;
};

// A template whose {name} parts are replaced; names that are not given stay as they are.
std::string fill(std::string_view text,
                 std::initializer_list<std::pair<std::string_view, std::string_view>> parts) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    bool replaced = false;
    for (const auto& [name, value] : parts) {
      if (text[i] != '{' || text.substr(i + 1, name.size() + 1) != std::string(name) + "}") continue;
      out += value;
      i += name.size() + 2;
      replaced = true;
      break;
    }
    if (!replaced) out += text[i++];
  }
  return out;
}

std::string where(const Condition& condition) {
  return condition.sql.empty() ? "" : " WHERE " + condition.sql;
}

int conditions(Dice& dice, int none, int one, int two) {
  const int64_t roll = dice.below(100);
  return roll < none ? 0 : roll < none + one ? 1 : roll < none + one + two ? 2 : 3;
}

Query select_columns(Scene& scene, Dice& dice) {
  constexpr std::array<std::string_view, 8> kQuestions = {
      "What is the {c} of the {e} {w}?", "Which {c} does the {e} {w} have?",
      "Show the {c} of all {es} {w}.",   "Tell me the {c} for the {e} {w}.",
      "Give the {c} of every {e} {w}.",  "I need the {c} of the {es} {w}.",
      "List the {c} for each {e} {w}.",  "For the {e} {w}, what is the {c}?"};
  const Column& first = dice.chance(35) ? scene.name() : scene.any();
  std::string words(first.words), sql = sql_name(first.words);
  if (dice.chance(30)) {
    const Column& second = scene.any();
    words += " and the " + std::string(second.words);
    sql += ", " + sql_name(second.words);
  }
  const Condition w = scene.condition(conditions(dice, 0, 50, 38));
  return {fill(dice.pick(kQuestions),
               {{"c", words}, {"e", scene.theme().singular}, {"es", scene.theme().plural}, {"w", w.words}}),
          "SELECT " + sql + " FROM " + scene.table() + where(w)};
}

Query count_rows(Scene& scene, Dice& dice) {
  constexpr std::array<std::string_view, 5> kQuestions = {
      "How many {es} are there {w}?", "Count the {es} {w}.", "What is the number of {es} {w}?",
      "How many {es} {w} are listed?", "What is the total number of {es} {w}?"};
  const Condition w = scene.condition(conditions(dice, 0, 55, 38));
  return {fill(dice.pick(kQuestions), {{"es", scene.theme().plural}, {"w", w.words}}),
          "SELECT COUNT(*) FROM " + scene.table() + where(w)};
}

struct Aggregate {
  std::string_view words, function;
};
constexpr std::array<Aggregate, 7> kAggregates = {{{"highest", "MAX"},
                                                   {"largest", "MAX"},
                                                   {"lowest", "MIN"},
                                                   {"smallest", "MIN"},
                                                   {"average", "AVG"},
                                                   {"total", "SUM"},
                                                   {"mean", "AVG"}}};

Query aggregate(Scene& scene, Dice& dice) {
  constexpr std::array<std::string_view, 5> kQuestions = {
      "What is the {a} {c} of the {es} {w}?", "What was the {a} {c} for {es} {w}?",
      "Find the {a} {c} among the {es} {w}.", "Give me the {a} {c} of all {es} {w}.",
      "For the {es} {w}, what is the {a} {c}?"};
  const Aggregate& a = dice.pick(kAggregates);
  const Column& c = scene.number();
  const Condition w = scene.condition(conditions(dice, 0, 60, 34));
  return {
      fill(dice.pick(kQuestions),
           {{"a", a.words}, {"c", c.words}, {"es", scene.theme().plural}, {"w", w.words}}),
      "SELECT " + std::string(a.function) + "(" + sql_name(c.words) + ") FROM " + scene.table() + where(w)};
}

Query superlative(Scene& scene, Dice& dice) {
  constexpr std::array<std::string_view, 3> kQuestions = {"Which {e} has the {a} {c}?",
                                                          "What is the {n} of the {e} with the {a} {c}?",
                                                          "Name the {e} with the {a} {c}."};
  constexpr std::array<std::string_view, 3> kAmong = {
      "Among the {es} {w}, which one has the {a} {c}?", "Of all {es} {w}, name the one with the {a} {c}.",
      "What is the {n} of the {e} with the {a} {c} among those {w}?"};
  const Column& n = scene.name();
  const Column& c = scene.number();
  const bool highest = dice.chance(60);
  const Condition w = scene.condition(dice.chance(60) ? 1 : 0);
  const std::string_view question = w.sql.empty() ? dice.pick(kQuestions) : dice.pick(kAmong);
  return {fill(question, {{"e", scene.theme().singular},
                          {"es", scene.theme().plural},
                          {"a", highest ? "highest" : "lowest"},
                          {"c", c.words},
                          {"n", n.words},
                          {"w", w.words}}),
          "SELECT " + sql_name(n.words) + " FROM " + scene.table() + where(w) + " ORDER BY " +
              sql_name(c.words) + (highest ? " DESC" : " ASC") + " LIMIT 1"};
}

Query top(Scene& scene, Dice& dice) {
  constexpr std::array<std::string_view, 3> kQuestions = {
      "List the {n} of the {k} {es} with the {a} {c}.",
      "Show the top {k} {es} by {a} {c}, with their {n} and {c}.",
      "What are the {n} values of the {k} {es} that have the {a} {c}?"};
  const Column& n = scene.name();
  const Column& c = scene.number();
  const bool highest = dice.chance(60);
  const std::string k = std::to_string(dice.between(2, 12));
  const auto which = static_cast<size_t>(dice.below(3));
  return {fill(kQuestions[which], {{"n", n.words},
                                   {"k", k},
                                   {"es", scene.theme().plural},
                                   {"a", highest ? "highest" : "lowest"},
                                   {"c", c.words}}),
          "SELECT " + sql_name(n.words) + (which == 1 ? ", " + sql_name(c.words) : "") + " FROM " +
              scene.table() + " ORDER BY " + sql_name(c.words) + (highest ? " DESC" : " ASC") + " LIMIT " +
              k};
}

Query distinct(Scene& scene, Dice& dice) {
  const Column& c = scene.category();
  const Condition w = scene.condition(1);
  const bool counted = dice.chance(50);
  const std::string_view question = counted ? "How many different values of {c} are there among the {es} {w}?"
                                    : dice.chance(50)
                                        ? "What different values of {c} occur among the {es} {w}?"
                                        : "List each distinct {c} of the {es} {w}.";
  const std::string column = sql_name(c.words);
  return {fill(question, {{"c", c.words}, {"es", scene.theme().plural}, {"w", w.words}}),
          "SELECT " + (counted ? "COUNT(DISTINCT " + column + ")" : "DISTINCT " + column) + " FROM " +
              scene.table() + where(w)};
}

Query group(Scene& scene, Dice& dice) {
  const Column& g = scene.category();
  const std::string by = sql_name(g.words);
  const std::string from = " FROM " + scene.table();
  const std::string_view es = scene.theme().plural;
  switch (dice.below(3)) {
    case 0: {
      const Condition w = scene.condition(dice.chance(50) ? 1 : 0);
      const std::string_view question = w.sql.empty() ? "How many {es} are there for each {g}?"
                                                      : "For each {g}, how many {es} are there {w}?";
      return {fill(question, {{"es", es}, {"g", g.words}, {"w", w.words}}),
              "SELECT " + by + ", COUNT(*)" + from + where(w) + " GROUP BY " + by};
    }
    case 1: {
      const Aggregate& a = dice.pick(kAggregates);
      const Column& c = scene.number();
      const std::string_view question = dice.chance(50) ? "What is the {a} {c} of the {es} for each {g}?"
                                                        : "Show every {g} with the {a} {c} of its {es}.";
      return {fill(question, {{"a", a.words}, {"c", c.words}, {"es", es}, {"g", g.words}}),
              "SELECT " + by + ", " + std::string(a.function) + "(" + sql_name(c.words) + ")" + from +
                  " GROUP BY " + by};
    }
    default: {
      const std::string n = std::to_string(dice.between(2, 30));
      const std::string_view question = dice.chance(50)
                                            ? "Which {g} has more than {n} {es}?"
                                            : "List every {g} that occurs with more than {n} {es}.";
      return {fill(question, {{"g", g.words}, {"n", n}, {"es", es}}),
              "SELECT " + by + from + " GROUP BY " + by + " HAVING COUNT(*) > " + n};
    }
  }
}

Query join(Scene& scene, Dice& dice) {
  constexpr std::array<std::string_view, 3> kQuestions = {
      "What is the {c} of the {es} {w}?", "Show the {c} of every {e} {w}.", "List the {c} for all {es} {w}."};
  const bool counted = dice.chance(30);
  const Column& c = dice.chance(50) ? scene.name() : scene.any();
  const Condition w = scene.parent_condition();
  const std::string_view question = counted ? "How many {es} {w} are there?" : dice.pick(kQuestions);
  return {fill(question,
               {{"c", c.words}, {"e", scene.theme().singular}, {"es", scene.theme().plural}, {"w", w.words}}),
          "SELECT " + (counted ? "COUNT(*)" : "T1." + sql_name(c.words)) + " FROM " + scene.table() +
              " AS T1 JOIN " + sql_name(scene.theme().parents) + " AS T2 ON T1." +
              sql_name(scene.theme().parent) + "_id = T2.id WHERE " + w.sql};
}

}  // namespace

SqlChat make_sql_chat(uint64_t seed, uint64_t number) {
  using Maker = Query (*)(Scene&, Dice&);
  // Percent of the rows.
  constexpr std::array<std::pair<int, Maker>, 8> kMakers = {{{38, select_columns},
                                                             {13, count_rows},
                                                             {14, aggregate},
                                                             {9, superlative},
                                                             {6, top},
                                                             {5, distinct},
                                                             {8, group},
                                                             {7, join}}};
  Dice dice(seed, number);
  Scene scene(dice);
  int64_t roll = dice.below(100);
  size_t which = 0;
  while (roll >= kMakers[which].first) roll -= kMakers[which++].first;
  Query query = kMakers[which].second(scene, dice);
  return {std::string(kInstruction) + scene.schema(), std::move(query.question), std::move(query.sql)};
}

std::string prompt_of(const SqlChat& chat) {
  return chat.system + "\n" + chat.question;
}

std::string to_json_line(const SqlChat& chat) {
  using Json = nlohmann::ordered_json;
  const Json messages = {Json{{"role", "system"}, {"content", chat.system}},
                         Json{{"role", "user"}, {"content", chat.question}},
                         Json{{"role", "assistant"}, {"content", chat.query}}};
  return Json{{"messages", messages}}.dump() + "\n";
}

}  // namespace gorgon::generator
