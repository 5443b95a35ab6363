#include "data/generator/words.h"

#include <array>

namespace gorgon::generator {

namespace {

constexpr std::array<std::string_view, 50> kFirstNames = {
    "Anna",   "Boris", "Clara",  "David",  "Elena",  "Farid",  "Greta",   "Hugo",  "Irina",  "Jonas",
    "Karin",  "Liam",  "Marta",  "Nadia",  "Oscar",  "Paula",  "Quentin", "Rosa",  "Stefan", "Tara",
    "Umar",   "Vera",  "Walter", "Xenia",  "Yusuf",  "Zoe",    "Amara",   "Bruno", "Celia",  "Dmitri",
    "Esther", "Felix", "Gloria", "Henrik", "Isabel", "Julian", "Kofi",    "Laura", "Mateo",  "Nora",
    "Olga",   "Pedro", "Ramona", "Simon",  "Teresa", "Viktor", "Wanda",   "Ines",  "Jorge",  "Leila"};

constexpr std::array<std::string_view, 50> kLastNames = {
    "Abbott",    "Brandt",   "Castillo",  "Dawson",  "Eriksen", "Fischer", "Gallagher", "Hoffman", "Ibarra",
    "Jansen",    "Kowalski", "Lindqvist", "Moreau",  "Novak",   "Okafor",  "Petrov",    "Quinn",   "Rossi",
    "Schneider", "Tanaka",   "Ueda",      "Vargas",  "Whitman", "Yamada",  "Zeller",    "Ahmed",   "Barros",
    "Chandra",   "Dubois",   "Engel",     "Ferrari", "Grant",   "Haddad",  "Iversen",   "Jimenez", "Keller",
    "Larsen",    "Mendes",   "Nguyen",    "Ortega",  "Pratt",   "Ramos",   "Silva",     "Turner",  "Vogel",
    "Walsh",     "Young",    "Becker",    "Costa",   "Diaz"};

constexpr std::array<std::string_view, 56> kCities = {
    "Lyon",    "Porto",    "Krakow",    "Bergen",     "Seville",  "Turin",    "Graz",   "Ghent",
    "Aarhus",  "Leeds",    "Cork",      "Basel",      "Tampere",  "Riga",     "Split",  "Varna",
    "Izmir",   "Haifa",    "Lagos",     "Nairobi",    "Accra",    "Tunis",    "Durban", "Dakar",
    "Osaka",   "Busan",    "Hanoi",     "Cebu",       "Perth",    "Auckland", "Quito",  "Lima",
    "Bogota",  "Recife",   "Rosario",   "Merida",     "Austin",   "Denver",   "Boston", "Portland",
    "Halifax", "Calgary",  "Salem",     "Toledo",     "Geneva",   "Utrecht",  "Malmo",  "Plovdiv",
    "Nantes",  "Santa Fe", "New Haven", "Cape Coast", "San Jose", "Baden",    "Kyoto",  "Pune"};

constexpr std::array<std::string_view, 40> kCountries = {
    "Norway",  "Portugal",  "Poland",   "Austria", "Belgium",     "Denmark", "Ireland", "Finland",
    "Latvia",  "Croatia",   "Bulgaria", "Turkey",  "Israel",      "Nigeria", "Kenya",   "Ghana",
    "Tunisia", "Senegal",   "Japan",    "Vietnam", "Australia",   "Ecuador", "Peru",    "Colombia",
    "Brazil",  "Argentina", "Mexico",   "Canada",  "Switzerland", "Sweden",  "France",  "Germany",
    "Spain",   "Italy",     "Greece",   "India",   "Chile",       "Iceland", "Estonia", "Morocco"};

constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};

constexpr std::array<std::string_view, 18> kLanguages = {
    "English",  "French", "German",  "Spanish", "Italian", "Polish",  "Turkish", "Arabic",   "Hindi",
    "Japanese", "Korean", "Swedish", "Danish",  "Greek",   "Finnish", "Russian", "Mandarin", "Swahili"};

constexpr std::array<std::string_view, 32> kAdjectives = {
    "Silent",  "Golden", "Northern", "Broken",   "Hidden",  "Crimson", "Ancient",  "Electric",
    "Distant", "Frozen", "Gentle",   "Hollow",   "Iron",    "Lonely",  "Midnight", "Noble",
    "Open",    "Pale",   "Quiet",    "Restless", "Scarlet", "Twisted", "Upper",    "Velvet",
    "Wild",    "Amber",  "Bright",   "Copper",   "Double",  "Eastern", "First",    "Grand"};

constexpr std::array<std::string_view, 36> kNouns = {
    "Harbor", "River",  "Lantern", "Garden",  "Mirror", "Orchard", "Bridge",  "Castle",     "Desert",
    "Engine", "Forest", "Glacier", "Horizon", "Island", "Journey", "Kingdom", "Lighthouse", "Meadow",
    "Nebula", "Ocean",  "Palace",  "Quarry",  "Road",   "Summit",  "Tower",   "Valley",     "Window",
    "Anchor", "Beacon", "Canyon",  "Drum",    "Falcon", "Gate",    "Hill",    "Meridian",   "Station"};

}  // namespace

Words first_names() {
  return kFirstNames;
}

Words last_names() {
  return kLastNames;
}

Words cities() {
  return kCities;
}

Words countries() {
  return kCountries;
}

Words months() {
  return kMonths;
}

Words languages() {
  return kLanguages;
}

Words adjectives() {
  return kAdjectives;
}

Words nouns() {
  return kNouns;
}

}  // namespace gorgon::generator
