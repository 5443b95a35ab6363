#include <array>

#include "data/generator/words.h"

namespace gorgon::generator {

namespace {

constexpr std::array<std::string_view, 8> kFilmGenre = {"drama",  "comedy",  "thriller",  "documentary",
                                                        "horror", "western", "animation", "romance"};

constexpr std::array<Column, 9> kFilm = {{{"title", Kind::title, {}},
                                          {"director", Kind::person, {}},
                                          {"genre", Kind::choice, kFilmGenre},
                                          {"release year", Kind::year, {}},
                                          {"running time", Kind::hundreds, {}},
                                          {"box office", Kind::money, {}},
                                          {"language", Kind::language, {}},
                                          {"rating", Kind::decimal, {}},
                                          {"country", Kind::country, {}}}};

constexpr std::array<Column, 4> kFilmStudio = {{{"studio name", Kind::company, {}},
                                                {"city", Kind::city, {}},
                                                {"founding year", Kind::year, {}},
                                                {"head", Kind::person, {}}}};

constexpr std::array<std::string_view, 5> kPlayerPosition = {"goalkeeper", "defender", "midfielder",
                                                             "forward", "captain"};

constexpr std::array<Column, 9> kPlayer = {{{"player name", Kind::person, {}},
                                            {"position", Kind::choice, kPlayerPosition},
                                            {"nationality", Kind::country, {}},
                                            {"goals", Kind::small, {}},
                                            {"appearances", Kind::hundreds, {}},
                                            {"birth date", Kind::date, {}},
                                            {"shirt number", Kind::small, {}},
                                            {"salary", Kind::money, {}},
                                            {"height", Kind::hundreds, {}}}};

constexpr std::array<Column, 5> kPlayerClub = {{{"club name", Kind::company, {}},
                                                {"home city", Kind::city, {}},
                                                {"founding year", Kind::year, {}},
                                                {"coach", Kind::person, {}},
                                                {"stadium capacity", Kind::thousands, {}}}};

constexpr std::array<std::string_view, 4> kMatchResult = {"win", "loss", "draw", "abandoned"};

constexpr std::array<std::string_view, 4> kMatchCompetition = {"league", "cup", "friendly", "playoff"};

constexpr std::array<Column, 9> kMatch = {{{"venue", Kind::city, {}},
                                           {"opponent", Kind::company, {}},
                                           {"match date", Kind::date, {}},
                                           {"attendance", Kind::thousands, {}},
                                           {"result", Kind::choice, kMatchResult},
                                           {"competition", Kind::choice, kMatchCompetition},
                                           {"week", Kind::small, {}},
                                           {"referee", Kind::person, {}},
                                           {"margin", Kind::small, {}}}};

constexpr std::array<Column, 4> kMatchSeason = {{{"sponsor", Kind::company, {}},
                                                 {"start year", Kind::year, {}},
                                                 {"champion", Kind::company, {}},
                                                 {"number of teams", Kind::small, {}}}};

constexpr std::array<std::string_view, 7> kAlbumStyle = {"jazz",       "rock",      "folk",   "soul",
                                                         "electronic", "classical", "hip hop"};

constexpr std::array<Column, 9> kAlbum = {{{"album title", Kind::title, {}},
                                           {"artist", Kind::person, {}},
                                           {"label", Kind::company, {}},
                                           {"style", Kind::choice, kAlbumStyle},
                                           {"release date", Kind::date, {}},
                                           {"chart peak", Kind::small, {}},
                                           {"copies sold", Kind::thousands, {}},
                                           {"tracks", Kind::small, {}},
                                           {"producer", Kind::person, {}}}};

constexpr std::array<Column, 4> kAlbumLabel = {{{"label name", Kind::company, {}},
                                                {"headquarters", Kind::city, {}},
                                                {"founding year", Kind::year, {}},
                                                {"manager", Kind::person, {}}}};

constexpr std::array<std::string_view, 6> kShipClass = {"frigate", "tanker",  "ferry",
                                                        "cruiser", "trawler", "icebreaker"};

constexpr std::array<Column, 9> kShip = {{{"ship name", Kind::title, {}},
                                          {"class", Kind::choice, kShipClass},
                                          {"home port", Kind::city, {}},
                                          {"launch year", Kind::year, {}},
                                          {"tonnage", Kind::thousands, {}},
                                          {"crew", Kind::hundreds, {}},
                                          {"captain", Kind::person, {}},
                                          {"flag", Kind::country, {}},
                                          {"top speed", Kind::decimal, {}}}};

constexpr std::array<Column, 4> kShipShipyard = {{{"shipyard name", Kind::company, {}},
                                                  {"location", Kind::city, {}},
                                                  {"docks", Kind::small, {}},
                                                  {"owner", Kind::person, {}}}};

constexpr std::array<std::string_view, 4> kFlightStatus = {"on time", "delayed", "cancelled", "boarding"};

constexpr std::array<Column, 9> kFlight = {{{"flight number", Kind::code, {}},
                                            {"origin", Kind::city, {}},
                                            {"destination", Kind::city, {}},
                                            {"airline", Kind::company, {}},
                                            {"departure date", Kind::date, {}},
                                            {"distance", Kind::thousands, {}},
                                            {"passengers", Kind::hundreds, {}},
                                            {"status", Kind::choice, kFlightStatus},
                                            {"fare", Kind::money, {}}}};

constexpr std::array<Column, 5> kFlightAirport = {{{"airport name", Kind::title, {}},
                                                   {"served city", Kind::city, {}},
                                                   {"runways", Kind::small, {}},
                                                   {"opening year", Kind::year, {}},
                                                   {"elevation", Kind::hundreds, {}}}};

constexpr std::array<std::string_view, 6> kEmployeeDepartment = {"finance",  "sales",   "legal",
                                                                 "research", "support", "marketing"};

constexpr std::array<std::string_view, 6> kEmployeeJobTitle = {"analyst", "engineer", "clerk",
                                                               "manager", "designer", "technician"};

constexpr std::array<Column, 9> kEmployee = {{{"employee name", Kind::person, {}},
                                              {"department", Kind::choice, kEmployeeDepartment},
                                              {"job title", Kind::choice, kEmployeeJobTitle},
                                              {"salary", Kind::money, {}},
                                              {"hire date", Kind::date, {}},
                                              {"office", Kind::city, {}},
                                              {"age", Kind::small, {}},
                                              {"years of service", Kind::small, {}},
                                              {"supervisor", Kind::person, {}}}};

constexpr std::array<Column, 4> kEmployeeBranch = {{{"branch city", Kind::city, {}},
                                                    {"director", Kind::person, {}},
                                                    {"budget", Kind::money, {}},
                                                    {"opening year", Kind::year, {}}}};

constexpr std::array<std::string_view, 7> kBookSubject = {"history", "physics",   "poetry", "travel",
                                                          "cooking", "gardening", "law"};

constexpr std::array<Column, 9> kBook = {{{"book title", Kind::title, {}},
                                          {"author", Kind::person, {}},
                                          {"publisher", Kind::company, {}},
                                          {"subject", Kind::choice, kBookSubject},
                                          {"pages", Kind::hundreds, {}},
                                          {"publication year", Kind::year, {}},
                                          {"price", Kind::decimal, {}},
                                          {"language", Kind::language, {}},
                                          {"isbn", Kind::code, {}}}};

constexpr std::array<Column, 4> kBookLibrary = {{{"library name", Kind::title, {}},
                                                 {"town", Kind::city, {}},
                                                 {"members", Kind::thousands, {}},
                                                 {"librarian", Kind::person, {}}}};

constexpr std::array<std::string_view, 6> kPatientDiagnosis = {"asthma",    "fracture", "migraine",
                                                               "influenza", "anemia",   "burn"};

constexpr std::array<std::string_view, 4> kPatientBloodType = {"A positive", "B negative", "O positive",
                                                               "AB negative"};

constexpr std::array<Column, 9> kPatient = {{{"patient name", Kind::person, {}},
                                             {"diagnosis", Kind::choice, kPatientDiagnosis},
                                             {"blood type", Kind::choice, kPatientBloodType},
                                             {"admission date", Kind::date, {}},
                                             {"weight", Kind::hundreds, {}},
                                             {"heart rate", Kind::hundreds, {}},
                                             {"ward", Kind::code, {}},
                                             {"physician", Kind::person, {}},
                                             {"home town", Kind::city, {}}}};

constexpr std::array<Column, 4> kPatientHospital = {{{"hospital name", Kind::title, {}},
                                                     {"location", Kind::city, {}},
                                                     {"beds", Kind::hundreds, {}},
                                                     {"chief", Kind::person, {}}}};

constexpr std::array<std::string_view, 4> kMountainDifficulty = {"easy", "moderate", "hard", "extreme"};

constexpr std::array<Column, 9> kMountain = {{{"mountain name", Kind::title, {}},
                                              {"range", Kind::title, {}},
                                              {"country", Kind::country, {}},
                                              {"elevation", Kind::thousands, {}},
                                              {"prominence", Kind::thousands, {}},
                                              {"first ascent", Kind::year, {}},
                                              {"climber", Kind::person, {}},
                                              {"difficulty", Kind::choice, kMountainDifficulty},
                                              {"routes", Kind::small, {}}}};

constexpr std::array<Column, 5> kMountainPark = {{{"park name", Kind::title, {}},
                                                  {"nearest town", Kind::city, {}},
                                                  {"area", Kind::thousands, {}},
                                                  {"opening year", Kind::year, {}},
                                                  {"ranger", Kind::person, {}}}};

constexpr std::array<Column, 9> kEpisode = {{{"episode title", Kind::title, {}},
                                             {"writer", Kind::person, {}},
                                             {"director", Kind::person, {}},
                                             {"air date", Kind::date, {}},
                                             {"viewers", Kind::decimal, {}},
                                             {"production code", Kind::code, {}},
                                             {"episode number", Kind::small, {}},
                                             {"season number", Kind::small, {}},
                                             {"guest star", Kind::person, {}}}};

constexpr std::array<std::string_view, 4> kEpisodeSeriesCategory = {"drama", "comedy", "quiz", "news"};

constexpr std::array<Column, 4> kEpisodeSeries = {{{"network", Kind::company, {}},
                                                   {"creator", Kind::person, {}},
                                                   {"premiere year", Kind::year, {}},
                                                   {"category", Kind::choice, kEpisodeSeriesCategory}}};

constexpr std::array<std::string_view, 6> kProductCategory = {"toys",    "tools",  "garden",
                                                              "kitchen", "sports", "office"};

constexpr std::array<std::string_view, 6> kProductColor = {"red",   "blue",  "green",
                                                           "black", "white", "silver"};

constexpr std::array<Column, 9> kProduct = {{{"product name", Kind::title, {}},
                                             {"brand", Kind::company, {}},
                                             {"category", Kind::choice, kProductCategory},
                                             {"price", Kind::decimal, {}},
                                             {"stock", Kind::hundreds, {}},
                                             {"weight", Kind::decimal, {}},
                                             {"color", Kind::choice, kProductColor},
                                             {"item code", Kind::code, {}},
                                             {"launch date", Kind::date, {}}}};

constexpr std::array<Column, 4> kProductSupplier = {{{"supplier name", Kind::company, {}},
                                                     {"country", Kind::country, {}},
                                                     {"contact", Kind::person, {}},
                                                     {"orders", Kind::hundreds, {}}}};

constexpr std::array<std::string_view, 5> kBuildingPurpose = {"offices", "hotel", "museum", "housing",
                                                              "theatre"};

constexpr std::array<Column, 9> kBuilding = {{{"building name", Kind::title, {}},
                                              {"architect", Kind::person, {}},
                                              {"city", Kind::city, {}},
                                              {"floors", Kind::small, {}},
                                              {"height", Kind::hundreds, {}},
                                              {"completion year", Kind::year, {}},
                                              {"purpose", Kind::choice, kBuildingPurpose},
                                              {"cost", Kind::money, {}},
                                              {"tenant", Kind::company, {}}}};

constexpr std::array<Column, 4> kBuildingDistrict = {{{"district name", Kind::title, {}},
                                                      {"mayor", Kind::person, {}},
                                                      {"population", Kind::thousands, {}},
                                                      {"parks", Kind::small, {}}}};

constexpr std::array<std::string_view, 4> kRaceWeather = {"rain", "sun", "fog", "overcast"};

constexpr std::array<Column, 9> kRace = {{{"circuit", Kind::city, {}},
                                          {"winner", Kind::person, {}},
                                          {"team", Kind::company, {}},
                                          {"race date", Kind::date, {}},
                                          {"laps", Kind::small, {}},
                                          {"pole position", Kind::person, {}},
                                          {"distance", Kind::hundreds, {}},
                                          {"weather", Kind::choice, kRaceWeather},
                                          {"prize money", Kind::money, {}}}};

constexpr std::array<Column, 4> kRaceChampionship = {{{"organiser", Kind::company, {}},
                                                      {"host country", Kind::country, {}},
                                                      {"first year", Kind::year, {}},
                                                      {"rounds", Kind::small, {}}}};

constexpr std::array<std::string_view, 6> kCourseFaculty = {"law",     "medicine",  "music",
                                                            "biology", "economics", "history"};

constexpr std::array<Column, 9> kCourse = {{{"course title", Kind::title, {}},
                                            {"lecturer", Kind::person, {}},
                                            {"faculty", Kind::choice, kCourseFaculty},
                                            {"credits", Kind::small, {}},
                                            {"enrolled students", Kind::hundreds, {}},
                                            {"room", Kind::code, {}},
                                            {"start month", Kind::month, {}},
                                            {"pass mark", Kind::decimal, {}},
                                            {"fee", Kind::money, {}}}};

constexpr std::array<Column, 5> kCourseUniversity = {{{"university name", Kind::title, {}},
                                                      {"city", Kind::city, {}},
                                                      {"rector", Kind::person, {}},
                                                      {"founding year", Kind::year, {}},
                                                      {"students", Kind::thousands, {}}}};

constexpr std::array<std::string_view, 5> kElectionParty = {"liberal", "labour", "green", "conservative",
                                                            "independent"};

constexpr std::array<Column, 9> kElection = {{{"candidate", Kind::person, {}},
                                              {"party", Kind::choice, kElectionParty},
                                              {"constituency", Kind::city, {}},
                                              {"votes", Kind::thousands, {}},
                                              {"turnout", Kind::decimal, {}},
                                              {"election year", Kind::year, {}},
                                              {"majority", Kind::thousands, {}},
                                              {"incumbent", Kind::person, {}},
                                              {"seats", Kind::small, {}}}};

constexpr std::array<Column, 4> kElectionRegion = {{{"region name", Kind::title, {}},
                                                    {"capital", Kind::city, {}},
                                                    {"governor", Kind::person, {}},
                                                    {"population", Kind::thousands, {}}}};

constexpr std::array<std::string_view, 5> kPaintingTechnique = {"oil", "watercolor", "tempera", "charcoal",
                                                                "pastel"};

constexpr std::array<Column, 9> kPainting = {{{"painting title", Kind::title, {}},
                                              {"painter", Kind::person, {}},
                                              {"technique", Kind::choice, kPaintingTechnique},
                                              {"year painted", Kind::year, {}},
                                              {"width", Kind::hundreds, {}},
                                              {"height", Kind::hundreds, {}},
                                              {"owner", Kind::company, {}},
                                              {"estimated value", Kind::money, {}},
                                              {"catalogue code", Kind::code, {}}}};

constexpr std::array<Column, 4> kPaintingMuseum = {{{"museum name", Kind::title, {}},
                                                    {"city", Kind::city, {}},
                                                    {"curator", Kind::person, {}},
                                                    {"visitors", Kind::thousands, {}}}};

constexpr std::array<std::string_view, 3> kRiverNavigability = {"full", "partial", "none"};

constexpr std::array<Column, 9> kRiver = {{{"river name", Kind::title, {}},
                                           {"source country", Kind::country, {}},
                                           {"length", Kind::thousands, {}},
                                           {"basin area", Kind::thousands, {}},
                                           {"mouth", Kind::city, {}},
                                           {"average flow", Kind::hundreds, {}},
                                           {"bridges", Kind::small, {}},
                                           {"navigability", Kind::choice, kRiverNavigability},
                                           {"survey year", Kind::year, {}}}};

constexpr std::array<Column, 4> kRiverBasin = {{{"basin name", Kind::title, {}},
                                                {"largest city", Kind::city, {}},
                                                {"rainfall", Kind::hundreds, {}},
                                                {"surveyor", Kind::person, {}}}};

constexpr std::array<std::string_view, 3> kTrainGauge = {"standard", "narrow", "broad"};

constexpr std::array<Column, 9> kTrain = {{{"line name", Kind::title, {}},
                                           {"operator", Kind::company, {}},
                                           {"terminus", Kind::city, {}},
                                           {"stops", Kind::small, {}},
                                           {"daily riders", Kind::thousands, {}},
                                           {"service start", Kind::date, {}},
                                           {"top speed", Kind::hundreds, {}},
                                           {"gauge", Kind::choice, kTrainGauge},
                                           {"rolling stock", Kind::code, {}}}};

constexpr std::array<Column, 4> kTrainDepot = {{{"depot town", Kind::city, {}},
                                                {"opening year", Kind::year, {}},
                                                {"tracks", Kind::small, {}},
                                                {"foreman", Kind::person, {}}}};

constexpr std::array<Theme, 19> kThemes = {
    {{"film", "films", kFilm, "studio", "studios", kFilmStudio},
     {"player", "players", kPlayer, "club", "clubs", kPlayerClub},
     {"match", "matches", kMatch, "season", "seasons", kMatchSeason},
     {"album", "albums", kAlbum, "label", "labels", kAlbumLabel},
     {"ship", "ships", kShip, "shipyard", "shipyards", kShipShipyard},
     {"flight", "flights", kFlight, "airport", "airports", kFlightAirport},
     {"employee", "employees", kEmployee, "branch", "branches", kEmployeeBranch},
     {"book", "books", kBook, "library", "libraries", kBookLibrary},
     {"patient", "patients", kPatient, "hospital", "hospitals", kPatientHospital},
     {"mountain", "mountains", kMountain, "park", "parks", kMountainPark},
     {"episode", "episodes", kEpisode, "series", "series", kEpisodeSeries},
     {"product", "products", kProduct, "supplier", "suppliers", kProductSupplier},
     {"building", "buildings", kBuilding, "district", "districts", kBuildingDistrict},
     {"race", "races", kRace, "championship", "championships", kRaceChampionship},
     {"course", "courses", kCourse, "university", "universities", kCourseUniversity},
     {"election", "elections", kElection, "region", "regions", kElectionRegion},
     {"painting", "paintings", kPainting, "museum", "museums", kPaintingMuseum},
     {"river", "rivers", kRiver, "basin", "basins", kRiverBasin},
     {"train", "trains", kTrain, "depot", "depots", kTrainDepot}}};

}  // namespace

std::span<const Theme> themes() {
  return kThemes;
}

}  // namespace gorgon::generator
