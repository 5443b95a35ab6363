#include "data/file.h"

#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

size_t entries_of(const std::filesystem::path& directory) {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++n;
  return n;
}

TEST(File, WritesWholeFilesAndReplacesThem) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "a.txt";
  write_atomically(path, "first, and longer");
  write_atomically(path, "second");
  EXPECT_EQ(read_text(path, ExitCode::data), "second");
  EXPECT_EQ(entries_of(directory.path()), 1u);
}

TEST(File, WritesAndReadsEmptyFiles) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "empty";
  write_atomically(path, "");
  EXPECT_EQ(read_text(path, ExitCode::data), "");
  EXPECT_TRUE(MappedFile(path, ExitCode::data).bytes().empty());
}

TEST(File, FailedWriteLeavesTheFormerFileAndNoTemporary) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "a.txt";
  write_atomically(path, "kept");
  const auto broken = [&](int descriptor) {
    write_all(descriptor, "half", 4, path);
    EXPECT_EQ(entries_of(directory.path()), 2u) << "the temporary lies in the same directory";
    throw std::runtime_error("stop");
  };
  EXPECT_THROW(write_atomically(path, broken), std::runtime_error);
  EXPECT_EQ(read_text(path, ExitCode::data), "kept");
  EXPECT_EQ(entries_of(directory.path()), 1u);
}

TEST(File, UnwritableTargetsAreResourceErrors) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "absent" / "a.txt";
  expect_error([&] { write_atomically(path, "x"); }, ExitCode::resource, {path.string(), "No such file"});
  std::filesystem::create_directory(directory.path() / "taken");
  expect_error([&] { write_atomically(directory.path() / "taken", "x"); }, ExitCode::resource, {"taken"});
  EXPECT_EQ(entries_of(directory.path()), 1u);
}

// A file size limit stands in for a full disk: write(2) stops half-way and then fails.
TEST(File, WriteThatStopsHalfWayIsReportedAndCleaned) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "large";
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{65536, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error([&] { write_atomically(path, std::string(100000, 'x')); }, ExitCode::resource,
               {path.string(), "File too large"});
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(entries_of(directory.path()), 0u);
}

TEST(File, FullDiskTellsBytesNeededAndFree) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full on this system";
  const int descriptor = ::open("/dev/full", O_WRONLY);
  ASSERT_GE(descriptor, 0);
  expect_error([&] { write_all(descriptor, "twelve bytes", 12, "/tmp/target"); }, ExitCode::resource,
               {"/tmp/target", "room for 12 more bytes", "bytes free"});
  ::close(descriptor);
}

TEST(File, MissingAndSpecialFilesCarryPathAndStatus) {
  const TemporaryDirectory directory;
  const auto absent = directory.path() / "absent.gguf";
  for (const ExitCode code : {ExitCode::model, ExitCode::checkpoint}) {
    expect_error([&] { MappedFile(absent, code); }, code, {absent.string(), "No such file"});
    expect_error([&] { read_text(absent, code); }, code, {absent.string(), "No such file"});
    expect_error([&] { sha256_of_file(absent, code); }, code, {absent.string(), "No such file"});
    expect_error([&] { MappedFile(directory.path(), code); }, code, {"a directory"});
    expect_error([&] { read_text("/dev/null", code); }, code, {"/dev/null", "a special file"});
  }
}

TEST(File, MappingMovesWithItsBytes) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "a";
  write_atomically(path, "abc");
  MappedFile first(path, ExitCode::data);
  const std::byte* data = first.bytes().data();
  MappedFile second(std::move(first));
  EXPECT_EQ(second.bytes().data(), data);
  EXPECT_EQ(second.path(), path);
  MappedFile third;
  third = std::move(second);
  ASSERT_EQ(third.bytes().size(), 3u);
  EXPECT_EQ(std::to_integer<char>(third.bytes()[2]), 'c');
}

void read_shortened_file(const std::filesystem::path& path) {
  const MappedFile mapped(path, ExitCode::data);
  std::filesystem::resize_file(path, 1);
  unsigned sum = 0;
  for (const std::byte b : mapped.bytes()) sum += std::to_integer<unsigned>(b);
  std::exit(sum == 0 ? 0 : 1);
}

TEST(FileDeathTest, MappedFileThatShrinksEndsWithItsName) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "shrinking";
  write_atomically(path, std::string(100000, 'x'));
  EXPECT_EXIT(read_shortened_file(path), testing::ExitedWithCode(6),
              "error: .*shrinking: expected 100000 bytes .*found fewer");
}

TEST(File, TextAboveTheLimitIsRefused) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "a";
  write_atomically(path, "12345");
  EXPECT_EQ(read_text(path, ExitCode::data, 5), "12345");
  expect_error([&] { read_text(path, ExitCode::data, 4); }, ExitCode::data,
               {path.string(), "at most 4 bytes", "5"});
}

// FIPS 180-2, appendix B: the sums of "abc" and of a million "a".
TEST(File, Sha256OfKnownTexts) {
  EXPECT_EQ(sha256_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string many(1000000, 'a');
  const std::string sum = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  EXPECT_EQ(sha256_of(many), sum);
  const TemporaryDirectory directory;
  write_atomically(directory.path() / "a", many);
  EXPECT_EQ(sha256_of_file(directory.path() / "a", ExitCode::data), sum);
  Sha256 pieces;
  pieces.update(std::string_view(many).substr(0, 12345));
  pieces.update(std::string_view(many).substr(12345));
  EXPECT_EQ(pieces.hex(), sum);
}

}  // namespace
}  // namespace gorgon
