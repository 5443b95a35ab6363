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

// What no case replaces: four tokens of id 0, one sequence.
void add_rest(hid_t file, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string(name) == "offsets") {
      add_offsets(file, {0, 4});
    } else {
      add_array(file, name, H5T_STD_I32LE, {4});
    }
  }
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

struct HostileCase {
  const char* name;
  Maker maker;
  const char* says;
};

std::vector<HostileCase> hostile_cases() {
  const auto with = [](hid_t file, const char* name, hid_t type, std::vector<hsize_t> extent) {
    add_array(file, name, type, std::move(extent));
  };
  return {
      {"nothing", [](hid_t) {}, "/tokens: expected a data set, found none"},
      {"f32 tokens",
       [=](hid_t f) {
         with(f, "tokens", H5T_IEEE_F32LE, {4});
         add_rest(f, {"labels", "segments", "offsets"});
       },
       "/tokens: expected i32"},
      {"i64 labels",
       [=](hid_t f) {
         with(f, "labels", H5T_STD_I64LE, {4});
         add_rest(f, {"tokens", "segments", "offsets"});
       },
       "/labels: expected i32"},
      {"big-endian segments",
       [=](hid_t f) {
         with(f, "segments", H5T_STD_I32BE, {4});
         add_rest(f, {"tokens", "labels", "offsets"});
       },
       "/segments: expected i32"},
      {"i32 offsets",
       [=](hid_t f) {
         with(f, "offsets", H5T_STD_I32LE, {2});
         add_rest(f, {"tokens", "labels", "segments"});
       },
       "/offsets: expected i64"},
      {"rank 2",
       [=](hid_t f) {
         with(f, "tokens", H5T_STD_I32LE, {2, 2});
         add_rest(f, {"labels", "segments", "offsets"});
       },
       "expected rank 1, found rank 2"},
      {"other lengths",
       [=](hid_t f) {
         with(f, "labels", H5T_STD_I32LE, {3});
         add_rest(f, {"tokens", "segments", "offsets"});
       },
       "expected 4 values as in /tokens, found 3 and 4"},
      {"a group",
       [](hid_t f) {
         H5Gclose(H5Gcreate2(f, "tokens", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
         add_rest(f, {"labels", "segments", "offsets"});
       },
       "/tokens: expected a data set, found another object"},
      {"external link",
       [](hid_t f) {
         H5Lcreate_external("/etc/passwd", "/tokens", f, "tokens", H5P_DEFAULT, H5P_DEFAULT);
         add_rest(f, {"labels", "segments", "offsets"});
       },
       "/tokens: expected a data set in this file, found a soft or external link"},
      {"soft link",
       [](hid_t f) {
         add_rest(f, {"labels", "segments", "offsets"});
         H5Lcreate_soft("/labels", f, "tokens", H5P_DEFAULT, H5P_DEFAULT);
       },
       "found a soft or external link"},
      {"external storage",
       [](hid_t f) {
         const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
         H5Pset_external(creation, "/etc/passwd", 0, 4000);
         add_array(f, "tokens", H5T_STD_I32LE, {1000}, creation);
         add_rest(f, {"labels", "segments", "offsets"});
       },
       "expected values in this file"},
      {"filter",
       [](hid_t f) {
         const hsize_t chunk[1] = {4};
         const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
         H5Pset_chunk(creation, 1, chunk);
         H5Pset_shuffle(creation);
         add_array(f, "tokens", H5T_STD_I32LE, {4}, creation);
         add_rest(f, {"labels", "segments", "offsets"});
       },
       "/tokens: expected no filters"},
      {"values that are not there",
       [](hid_t f) {
         const hsize_t chunk[1] = {4};
         const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
         H5Pset_chunk(creation, 1, chunk);
         add_array(f, "tokens", H5T_STD_I32LE, {hsize_t{1} << 60}, creation);
         add_rest(f, {"labels", "segments", "offsets"});
       },
       "1152921504606846976 values"},
      {"descending offsets",
       [](hid_t f) {
         add_rest(f, {"tokens", "labels", "segments"});
         add_offsets(f, {0, 3, 2, 4});
       },
       "/offsets: expected ascending from 0 to 4"},
      {"offsets past the end",
       [](hid_t f) {
         add_rest(f, {"tokens", "labels", "segments"});
         add_offsets(f, {0, 400});
       },
       "/offsets: expected ascending from 0 to 4"},
      {"number as attribute",
       [](hid_t f) {
         add_rest(f, {"tokens", "labels", "segments", "offsets"});
         const hid_t space = H5Screate(H5S_SCALAR);
         H5Aclose(H5Acreate2(f, "n", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT));
         H5Sclose(space);
       },
       "attribute 'n': expected a string of fixed length"},
      {"string of any length as attribute",
       [](hid_t f) {
         add_rest(f, {"tokens", "labels", "segments", "offsets"});
         const hid_t space = H5Screate(H5S_SCALAR), type = H5Tcopy(H5T_C_S1);
         H5Tset_size(type, H5T_VARIABLE);
         H5Aclose(H5Acreate2(f, "n", type, space, H5P_DEFAULT, H5P_DEFAULT));
         H5Tclose(type);
         H5Sclose(space);
       },
       "attribute 'n': expected a string of fixed length"},
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
  make_file(path, [](hid_t f) { add_rest(f, {"tokens", "labels", "segments", "offsets"}); });
  EXPECT_EQ(read_dataset(path).tokens, (std::vector<int32_t>{0, 0, 0, 0}));  // the frame of all cases is good
  for (const HostileCase& c : hostile_cases()) {
    SCOPED_TRACE(c.name);
    make_file(path, c.maker);
    EXPECT_THAT(error_of_reading(path), HasSubstr(c.says));
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
