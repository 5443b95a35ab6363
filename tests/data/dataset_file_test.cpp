#include "data/dataset_file.h"

#include <array>
#include <csignal>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/resource.h>

#include "data/file.h"
#include "tests/data/dataset_examples.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

using testing::HasSubstr;

Dataset example(std::vector<int64_t> lengths = {5, 9, 2, 30}) {
  Dataset dataset = example_dataset(lengths, Packing::wrapped, 8);
  dataset.attributes = {{"packing", "wrapped"}, {"empty", ""}, {"name", "Zoë"}};
  return dataset;
}

std::string error_of_reading(const std::filesystem::path& path) {
  return error_of(ExitCode::data, [&] { read_dataset(path); });
}

// ---- files made by hand, with a right checksum ----

using Maker = std::function<void(hid_t file)>;

void add_array(hid_t file, const char* name, hid_t type, std::vector<hsize_t> extent,
               hid_t creation = H5P_DEFAULT) {
  const hid_t space = H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr);
  const hid_t array = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  ASSERT_GE(array, 0) << name;
  size_t count = 1;
  for (const hsize_t n : extent) count *= n;
  if (count <= 8) {
    const std::vector<int32_t> zeros(count, 0);
    H5Dwrite(array, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data());
  }
  H5Dclose(array);
  H5Sclose(space);
}

void add_offsets(hid_t file, std::vector<int64_t> values) {
  const hsize_t extent[1] = {values.size()};
  const hid_t space = H5Screate_simple(1, extent, nullptr);
  const hid_t array =
      H5Dcreate2(file, "offsets", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(array, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  H5Dclose(array);
  H5Sclose(space);
}

void make_file(const std::filesystem::path& path, const Maker& maker) {
  const hid_t creation = H5Pcreate(H5P_FILE_CREATE);
  H5Pset_userblock(creation, 512);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  maker(file);
  H5Fclose(file);
  H5Pclose(creation);
  std::string all = read_text(path, ExitCode::data);
  const std::string contents = all.substr(512);
  std::string block = "gorgon dataset 1\nbytes " + std::to_string(contents.size()) + "\nsha256 " +
                      sha256_of(contents) + "\ncomplete\n";
  block.resize(512, '\0');
  write_atomically(path, block + contents);
}

// A file whose array `replaced` is another thing ("": all four are as they should be).
struct HostileCase {
  const char* name;
  const char* replaced;
  Maker maker;
  const char* says;
};

void make_hostile_file(const std::filesystem::path& path, const HostileCase& c) {
  make_file(path, [&](hid_t file) {
    c.maker(file);
    for (const char* name : {"tokens", "labels", "segments"}) {
      if (std::string(name) != c.replaced) add_array(file, name, H5T_STD_I32LE, {4});
    }
    if (std::string("offsets") != c.replaced) add_offsets(file, {0, 4});
  });
}

HostileCase other_array(const char* name, const char* replaced, hid_t type, std::vector<hsize_t> extent,
                        const char* says) {
  return {name, replaced, [=](hid_t f) { add_array(f, replaced, type, extent); }, says};
}

HostileCase other_offsets(const char* name, std::vector<int64_t> values) {
  return {name, "offsets", [=](hid_t f) { add_offsets(f, values); },
          "/offsets: expected ascending from 0 to 4"};
}

std::vector<HostileCase> other_arrays() {
  return {
      other_array("f32 tokens", "tokens", H5T_IEEE_F32LE, {4}, "/tokens: expected i32, found f32"),
      other_array("i64 labels", "labels", H5T_STD_I64LE, {4}, "/labels: expected i32, found i64"),
      other_array("big-endian segments", "segments", H5T_STD_I32BE, {4},
                  "/segments: expected i32, found big-endian i32"),
      other_array("i32 offsets", "offsets", H5T_STD_I32LE, {2}, "/offsets: expected i64, found i32"),
      other_array("rank 2", "tokens", H5T_STD_I32LE, {2, 2}, "expected rank 1, found rank 2"),
      other_array("other lengths", "labels", H5T_STD_I32LE, {3},
                  "expected 4 values as in /tokens, found 3 and 4"),
      other_offsets("descending offsets", {0, 3, 2, 4}),
      other_offsets("offsets past the end", {0, 400}),
  };
}

// What is under the name of /tokens, but not an array with its values in this file.
std::vector<HostileCase> no_array_here() {
  return {
      {"nothing", "tokens", [](hid_t) {}, "/tokens: expected a data set, found none"},
      {"a group", "tokens",
       [](hid_t f) { H5Gclose(H5Gcreate2(f, "tokens", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); },
       "/tokens: expected a data set, found another object"},
      {"external link", "tokens",
       [](hid_t f) { H5Lcreate_external("/etc/passwd", "/tokens", f, "tokens", H5P_DEFAULT, H5P_DEFAULT); },
       "/tokens: expected a data set in this file, found a soft or external link"},
      {"soft link", "tokens",
       [](hid_t f) { H5Lcreate_soft("/labels", f, "tokens", H5P_DEFAULT, H5P_DEFAULT); },
       "found a soft or external link"},
  };
}

// Arrays that are made with properties of their own.
std::vector<HostileCase> other_storage() {
  const auto tokens = [](hid_t file, hsize_t count, const std::function<void(hid_t creation)>& set) {
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    set(creation);
    add_array(file, "tokens", H5T_STD_I32LE, {count}, creation);
    H5Pclose(creation);
  };
  const auto in_chunks = [](hid_t creation) {
    const hsize_t chunk[1] = {4};
    H5Pset_chunk(creation, 1, chunk);
  };
  return {
      {"external storage", "tokens",
       [=](hid_t f) {
         tokens(f, 1000, [](hid_t creation) { H5Pset_external(creation, "/etc/passwd", 0, 4000); });
       },
       "expected values in this file"},
      {"filter", "tokens",
       [=](hid_t f) { tokens(f, 4, [=](hid_t creation) { in_chunks(creation), H5Pset_shuffle(creation); }); },
       "/tokens: expected no filters"},
      {"values that are not there", "tokens", [=](hid_t f) { tokens(f, hsize_t{1} << 60, in_chunks); },
       "1152921504606846976 values"},
  };
}

std::vector<HostileCase> other_attributes() {
  const auto attribute = [](hid_t file, hid_t type) {
    const hid_t space = H5Screate(H5S_SCALAR);
    H5Aclose(H5Acreate2(file, "n", type, space, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
  };
  const char* const says = "attribute 'n': expected a string of fixed length";
  return {
      {"number as attribute", "", [=](hid_t f) { attribute(f, H5T_STD_I32LE); }, says},
      {"string of any length as attribute", "",
       [=](hid_t f) {
         const hid_t type = H5Tcopy(H5T_C_S1);
         H5Tset_size(type, H5T_VARIABLE);
         attribute(f, type);
         H5Tclose(type);
       },
       says},
  };
}

TEST(DatasetFile, RoundTrip) {
  const TemporaryDirectory folder;
  for (const Dataset& dataset : {example(), example({1}), example({200000, 3})}) {
    write_dataset(folder.path() / "dataset.h5", dataset);
    const Dataset read = read_dataset(folder.path() / "dataset.h5");
    EXPECT_EQ(read.tokens, dataset.tokens);
    EXPECT_EQ(read.labels, dataset.labels);
    EXPECT_EQ(read.segments, dataset.segments);
    EXPECT_EQ(read.offsets, dataset.offsets);
    EXPECT_EQ(read.attributes, dataset.attributes);
  }
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(DatasetFile, TheSameContentsGiveTheSameBytes) {
  const TemporaryDirectory folder;
  write_dataset(folder.path() / "a.h5", example());
  write_dataset(folder.path() / "b.h5", example());
  EXPECT_EQ(read_text(folder.path() / "a.h5", ExitCode::data),
            read_text(folder.path() / "b.h5", ExitCode::data));
}

TEST(DatasetFile, EveryTruncationIsSeen) {
  const TemporaryDirectory folder;
  const auto path = folder.path() / "dataset.h5";
  write_dataset(path, example());
  const std::string whole = read_text(path, ExitCode::data);
  for (size_t size = 0; size < whole.size(); size += size < 600 ? 7 : 397) {
    folder.write("cut.h5", whole.substr(0, size));
    EXPECT_THAT(error_of_reading(folder.path() / "cut.h5"), HasSubstr("prepare it again")) << size;
  }
  folder.write("cut.h5", whole + '\0');
  EXPECT_THAT(error_of_reading(folder.path() / "cut.h5"), HasSubstr("incomplete"));
}

TEST(DatasetFile, EveryFlippedBitIsSeen) {
  const TemporaryDirectory folder;
  const auto path = folder.path() / "dataset.h5";
  write_dataset(path, example());
  const std::string whole = read_text(path, ExitCode::data);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  for (size_t bit = 0; bit < whole.size() * 8; bit += bit < 4096 ? 1 : 13) {
    const auto at = static_cast<std::streamoff>(bit / 8);
    file.seekp(at).put(static_cast<char>(whole[bit / 8] ^ (1 << bit % 8))).flush();
    EXPECT_THROW(read_dataset(path), Error) << "bit " << bit;
    file.seekp(at).put(whole[bit / 8]).flush();
  }
  EXPECT_EQ(read_dataset(path).tokens, example().tokens);
}

TEST(DatasetFile, RefusesWhatIsNoDataSet) {
  const TemporaryDirectory folder;
  EXPECT_THAT(error_of_reading(folder.path() / "none.h5"), HasSubstr("none.h5"));
  EXPECT_THAT(error_of_reading(folder.path()), HasSubstr(folder.path().string()));
  EXPECT_THAT(error_of_reading(folder.write("empty.h5", "")), HasSubstr("an incomplete file"));
  EXPECT_THAT(error_of_reading(folder.write("zero.h5", std::string(2000, '\0'))),
              HasSubstr("an incomplete file"));
  EXPECT_THAT(error_of_reading(folder.write("text.h5", "{\"text\": 1}\n\x1b")),
              HasSubstr("starts with '{\"text\": 1}\\n\\x1b'"));
  EXPECT_FALSE(is_dataset_file(folder.path() / "text.h5"));
  EXPECT_FALSE(is_dataset_file(folder.path() / "none.h5"));
  write_dataset(folder.path() / "good.h5", example());
  EXPECT_TRUE(is_dataset_file(folder.path() / "good.h5"));
}

TEST(DatasetFile, RefusesHostileContentsUnderARightChecksum) {
  const TemporaryDirectory folder;
  const auto path = folder.path() / "hostile.h5";
  make_hostile_file(path, {"none", "", [](hid_t) {}, ""});
  EXPECT_EQ(read_dataset(path).tokens, (std::vector<int32_t>{0, 0, 0, 0}));  // the frame of all cases is good
  for (const auto& cases : {other_arrays(), no_array_here(), other_storage(), other_attributes()}) {
    for (const HostileCase& c : cases) {
      SCOPED_TRACE(c.name);
      make_hostile_file(path, c);
      EXPECT_THAT(error_of_reading(path), HasSubstr(c.says));
    }
  }
}

TEST(DatasetFile, RefusesLabelsOfOtherTokens) {
  const TemporaryDirectory folder;
  Dataset dataset = example();
  dataset.labels[3] = dataset.tokens[3] + 1;
  write_dataset(folder.path() / "d.h5", dataset);
  EXPECT_THAT(error_of_reading(folder.path() / "d.h5"),
              HasSubstr("the token itself or -100, found another value at 3"));
}

// A file that may not grow stands for a full disk: writing fails half-way, the earlier file stays.
TEST(DatasetFile, AFailedWriteLeavesTheEarlierFile) {
  const TemporaryDirectory folder;
  const auto path = folder.path() / "dataset.h5";
  write_dataset(path, example());
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t limit :
       {rlim_t{0}, rlim_t{300}, rlim_t{700}, rlim_t{4000}, rlim_t{100000}, rlim_t{400000}}) {
    const rlimit small{limit, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const std::string line = error_of(ExitCode::resource, [&] { write_dataset(path, example({300000})); });
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_THAT(line, HasSubstr("dataset.h5")) << limit;
    EXPECT_EQ(folder.entries(), 1u) << limit;
    EXPECT_EQ(read_dataset(path).tokens, example().tokens);
  }
  std::signal(SIGXFSZ, handler);
}

TEST(DatasetFile, NamesTheFirstDifference) {
  const std::map<std::string, std::string> found = {{"a", "1"}, {"b", "2"}, {"extra", "x"}};
  EXPECT_EQ(dataset_difference(found, {{"a", "1"}, {"b", "2"}}), "");
  EXPECT_EQ(dataset_difference(found, {{"a", "1"}, {"b", "3"}}), "b: expected '3', found '2'");
  EXPECT_EQ(dataset_difference(found, {{"c", "1"}}), "c: expected '1', found none");
}

}  // namespace
}  // namespace gorgon
