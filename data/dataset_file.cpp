#include "data/dataset_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <span>

#include <hdf5.h>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

namespace fs = std::filesystem;

constexpr size_t kUserBlock = 512;
constexpr size_t kMaxAttribute = 32 << 10;  // HDF5 keeps attributes in a header of at most 64 KiB
constexpr std::string_view kMark = "gorgon dataset 1\n";
constexpr const char* kRemedy = "remove the file and prepare it again: gorgon prepare CONFIG";

[[noreturn]] void bad_file(const fs::path& path, const std::string& key, const std::string& expected,
                           const std::string& found) {
  fail(ExitCode::data,
       {.place = path.string(), .key = key, .expected = expected, .found = found, .remedy = kRemedy});
}

// An HDF5 identifier, closed when it goes out of scope.
class Handle {
 public:
  Handle(hid_t id, herr_t (*closer)(hid_t)) : id_(id), close_(closer) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }
  bool valid() const { return id_ >= 0; }
  herr_t close() {
    const hid_t id = id_;
    id_ = -1;
    return close_(id);
  }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// Keeps HDF5 from printing its error stack while it is in scope; failures become Errors here.
class QuietHdf5 {
 public:
  QuietHdf5() {
    H5dont_atexit();  // nothing is open when the process ends, and with memory spent its handler can crash
    H5Eget_auto2(H5E_DEFAULT, &print_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~QuietHdf5() { H5Eset_auto2(H5E_DEFAULT, print_, data_); }
  QuietHdf5(const QuietHdf5&) = delete;
  QuietHdf5& operator=(const QuietHdf5&) = delete;

 private:
  H5E_auto2_t print_ = nullptr;
  void* data_ = nullptr;
};

// HDF5 1.10 locks what it opens, which some network file systems refuse. A published file never
// changes: no lock is needed.
void without_locks(hid_t access) {
  H5Pset_file_locking(access, false, true);
}

// ---- writing ----

class Writer {
 public:
  Writer(const fs::path& path, hid_t file) : path_(path), file_(file) {}

  void attribute(const std::string& key, const std::string& value) const {
    require(value.size() <= kMaxAttribute, "write_dataset", "an attribute above 32 KiB");
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    check(H5Tset_size(type, std::max<size_t>(value.size(), 1)));
    check(H5Tset_strpad(type, H5T_STR_NULLPAD));
    check(H5Tset_cset(type, H5T_CSET_UTF8));
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle attribute(H5Acreate2(file_, key.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(attribute);
    check(H5Awrite(attribute, type, value.c_str()));
  }

  void array(const char* name, hid_t type_in_file, hid_t type_in_memory, const void* data,
             size_t count) const {
    const hsize_t extent[1] = {count};
    const Handle space(H5Screate_simple(1, extent, nullptr), H5Sclose);
    const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    check(H5Pset_obj_track_times(creation, false));  // the same contents make the same bytes
    const Handle array(H5Dcreate2(file_, name, type_in_file, space, H5P_DEFAULT, creation, H5P_DEFAULT),
                       H5Dclose);
    check(array);
    if (count > 0) check(H5Dwrite(array, type_in_memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
  }

  void check(int64_t status) const {
    if (status >= 0) return;
    fail(ExitCode::resource, {.place = path_.string(),
                              .key = "",
                              .expected = "memory for the data set",
                              .found = "a failure inside HDF5",
                              .remedy = "use smaller data files"});
  }

 private:
  fs::path path_;
  hid_t file_;
};

void write_arrays(hid_t file, const Writer& writer, const Dataset& dataset) {
  for (const auto& [key, value] : dataset.attributes) writer.attribute(key, value);
  const size_t n = dataset.tokens.size();
  writer.array("tokens", H5T_STD_I32LE, H5T_NATIVE_INT32, dataset.tokens.data(), n);
  writer.array("labels", H5T_STD_I32LE, H5T_NATIVE_INT32, dataset.labels.data(), n);
  writer.array("segments", H5T_STD_I32LE, H5T_NATIVE_INT32, dataset.segments.data(), n);
  writer.array("offsets", H5T_STD_I64LE, H5T_NATIVE_INT64, dataset.offsets.data(), dataset.offsets.size());
  writer.check(H5Fflush(file, H5F_SCOPE_GLOBAL));
}

// The text of the user block for the bytes behind it.
std::string seal(uint64_t bytes, const std::string& sha256) {
  return std::string(kMark) + "bytes " + std::to_string(bytes) + "\nsha256 " + sha256 + "\ncomplete\n";
}

// The bytes of a file that holds the data set, but for its user block. HDF5 makes the file in memory: a write
// that fails (a full disk) leaves 1.10 with a file that it can neither close nor forget, and it crashes when
// the process ends.
std::vector<std::byte> contents_of(const fs::path& path, const Dataset& dataset) {
  constexpr size_t kGrowth = size_t{16} << 20;
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_userblock(creation, kUserBlock);
  H5Pset_fapl_core(access, kGrowth, false);
  const Handle file(H5Fcreate("dataset in memory", H5F_ACC_TRUNC, creation, access), H5Fclose);
  const Writer writer(path, file);
  writer.check(file);
  write_arrays(file, writer, dataset);
  const ssize_t size = H5Fget_file_image(file, nullptr, 0);
  writer.check(size);
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  writer.check(H5Fget_file_image(file, bytes.data(), bytes.size()));
  return bytes;
}

// ---- reading ----

// Checks the user block against the bytes behind it.
void check_seal(const fs::path& path) {
  const MappedFile file(path, ExitCode::data);
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kUserBlock));
  if (!text.starts_with(kMark)) {
    const bool blank = std::all_of(text.begin(), text.end(), [](char c) { return c == '\0'; });
    bad_file(path, "", "a data set of gorgon",
             blank ? "an incomplete file" : "a file that starts with " + quote_value(text.substr(0, 16)));
  }
  const std::string_view block = text.substr(0, text.find('\0'));
  if (bytes.size() < kUserBlock || !block.ends_with("\ncomplete\n")) {
    bad_file(path, "", "a complete file", "an incomplete one of " + std::to_string(bytes.size()) + " bytes");
  }
  const auto contents = bytes.subspan(kUserBlock);
  const size_t at = block.find("bytes ") + 6;
  const std::string promised(block.substr(at, block.find('\n', at) - at));
  if (promised != std::to_string(contents.size())) {
    bad_file(path, "", "a complete file of " + quote_value(promised) + " bytes behind its first 512",
             "an incomplete one of " + std::to_string(contents.size()));
  }
  Sha256 sum;
  sum.update(contents);
  const std::string found = sum.hex();
  if (text !=
      seal(contents.size(), found) + std::string(kUserBlock - seal(contents.size(), found).size(), '\0')) {
    bad_file(path, "sha256", quote_value(block.substr(std::min(block.find("sha256 ") + 7, block.size()), 64)),
             found);
  }
}

class Reader {
 public:
  Reader(const fs::path& path, hid_t file, uint64_t file_bytes)
      : path_(path), file_(file), file_bytes_(file_bytes) {}

  template <class T>
  std::vector<T> array(const std::string& name, hid_t expected_type, hid_t memory_type) const {
    H5L_info_t link;
    if (H5Lget_info(file_, name.c_str(), &link, H5P_DEFAULT) < 0)
      bad_file(path_, "/" + name, "a data set", "none");
    if (link.type != H5L_TYPE_HARD)
      bad_file(path_, "/" + name, "a data set in this file", "a soft or external link");
    const Handle object(H5Oopen(file_, name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid() || H5Iget_type(object) != H5I_DATASET)
      bad_file(path_, "/" + name, "a data set", "another object");
    check_storage(name, object);
    const Handle type(H5Dget_type(object), H5Tclose);
    if (!type.valid() || H5Tequal(type, expected_type) <= 0) {
      bad_file(path_, "/" + name, sizeof(T) == 4 ? "i32" : "i64", "another type");
    }
    const Handle space(H5Dget_space(object), H5Sclose);
    const int rank = space.valid() ? H5Sget_simple_extent_ndims(space) : -1;
    if (rank != 1) bad_file(path_, "/" + name, "rank 1", "rank " + std::to_string(rank));
    hsize_t count = 0;
    H5Sget_simple_extent_dims(space, &count, nullptr);
    if (count > file_bytes_ / sizeof(T)) {
      bad_file(path_, "/" + name, "at most " + std::to_string(file_bytes_) + " bytes",
               std::to_string(count) + " values");
    }
    std::vector<T> values(count);
    if (count > 0 && H5Dread(object, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
      bad_file(path_, "/" + name, "readable values", "a failure inside HDF5");
    }
    return values;
  }

  std::map<std::string, std::string> attributes() const {
    H5O_info_t info;
    if (H5Oget_info2(file_, &info, H5O_INFO_NUM_ATTRS) < 0) bad_file(path_, "", "attributes", "none");
    std::map<std::string, std::string> found;
    for (hsize_t i = 0; i < info.num_attrs; ++i) {
      const Handle attribute(
          H5Aopen_by_idx(file_, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
      if (!attribute.valid()) bad_file(path_, "", "readable attributes", "a failure inside HDF5");
      std::array<char, 256> key{};
      H5Aget_name(attribute, key.size(), key.data());
      found[key.data()] = text(key.data(), attribute);
    }
    return found;
  }

 private:
  // Values stored in this file and as they are.
  void check_storage(const std::string& name, hid_t object) const {
    const Handle creation(H5Dget_create_plist(object), H5Pclose);
    if (!creation.valid() || H5Pget_nfilters(creation) != 0)
      bad_file(path_, "/" + name, "no filters", "a filter");
    const H5D_layout_t layout = H5Pget_layout(creation);
    if (layout == H5D_VIRTUAL || H5Pget_external_count(creation) != 0) {
      bad_file(path_, "/" + name, "values in this file", "values in other files");
    }
  }

  std::string text(const std::string& key, hid_t attribute) const {
    const Handle type(H5Aget_type(attribute), H5Tclose);
    const Handle space(H5Aget_space(attribute), H5Sclose);
    const size_t size = type.valid() ? H5Tget_size(type) : 0;
    if (size == 0 || size > kMaxAttribute || H5Tget_class(type) != H5T_STRING ||
        H5Tis_variable_str(type) != 0 || H5Sget_simple_extent_type(space) != H5S_SCALAR) {
      bad_file(path_, "attribute " + quote_value(key), "a string of fixed length", "another type");
    }
    std::string value(size, '\0');
    if (H5Aread(attribute, type, value.data()) < 0) {
      bad_file(path_, "attribute " + quote_value(key), "a readable value", "a failure inside HDF5");
    }
    value.resize(std::min(value.find('\0'), size));
    return value;
  }

  fs::path path_;
  hid_t file_;
  uint64_t file_bytes_;
};

void check_contents(const fs::path& path, const Dataset& dataset) {
  const size_t n = dataset.tokens.size();
  if (dataset.labels.size() != n || dataset.segments.size() != n) {
    bad_file(path, "/labels, /segments", std::to_string(n) + " values as in /tokens",
             std::to_string(dataset.labels.size()) + " and " + std::to_string(dataset.segments.size()));
  }
  const auto& offsets = dataset.offsets;
  const bool ascending =
      std::adjacent_find(offsets.begin(), offsets.end(), std::greater_equal<>()) == offsets.end();
  if (offsets.size() < 2 || offsets.front() != 0 || offsets.back() != static_cast<int64_t>(n) || !ascending) {
    bad_file(path, "/offsets", "ascending from 0 to " + std::to_string(n), "others");
  }
  for (size_t i = 0; i < n; ++i) {
    const bool good = dataset.tokens[i] >= 0 && dataset.segments[i] >= 0 &&
                      (dataset.labels[i] == -100 || dataset.labels[i] == dataset.tokens[i]);
    if (!good) bad_file(path, "/labels", "the token itself or -100", "another value at " + std::to_string(i));
  }
}

}  // namespace

bool is_dataset_file(const fs::path& path) {
  std::array<char, kMark.size()> start{};
  std::ifstream(path, std::ios::binary).read(start.data(), start.size());
  return std::string_view(start.data(), start.size()) == kMark;
}

void write_dataset(const fs::path& path, const Dataset& dataset) {
  const QuietHdf5 quiet;
  const std::vector<std::byte> contents = contents_of(path, dataset);
  Sha256 sum;
  sum.update(contents);
  std::string block = seal(contents.size(), sum.hex());
  block.resize(kUserBlock, '\0');
  write_atomically(path, [&](int descriptor) {
    write_all(descriptor, block.data(), block.size(), path);
    write_all(descriptor, contents.data(), contents.size(), path);
  });
}

Dataset read_dataset(const fs::path& path) {
  check_seal(path);
  const QuietHdf5 quiet;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  without_locks(access);
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose);
  if (!file.valid()) bad_file(path, "", "an HDF5 file", "something else behind the first 512 bytes");
  const Reader reader(path, file, fs::file_size(path));
  Dataset dataset;
  dataset.tokens = reader.array<int32_t>("tokens", H5T_STD_I32LE, H5T_NATIVE_INT32);
  dataset.labels = reader.array<int32_t>("labels", H5T_STD_I32LE, H5T_NATIVE_INT32);
  dataset.segments = reader.array<int32_t>("segments", H5T_STD_I32LE, H5T_NATIVE_INT32);
  dataset.offsets = reader.array<int64_t>("offsets", H5T_STD_I64LE, H5T_NATIVE_INT64);
  dataset.attributes = reader.attributes();
  check_contents(path, dataset);
  return dataset;
}

}  // namespace gorgon
