#include "data/hdf5_file.h"

#include <algorithm>
#include <array>

#include <hdf5.h>

#include "kernels/error.h"

namespace gorgon::hdf5 {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxAttribute = 32 << 10;  // HDF5 keeps attributes in a header of at most 64 KiB

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

hid_t type_in_file(DType type) {
  if (type == DType::i32) return H5T_STD_I32LE;
  if (type == DType::i64) return H5T_STD_I64LE;
  return type == DType::f32 ? H5T_IEEE_F32LE : H5T_STD_U16LE;
}

hid_t type_in_memory(DType type) {
  if (type == DType::i32) return H5T_NATIVE_INT32;
  if (type == DType::i64) return H5T_NATIVE_INT64;
  return type == DType::f32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_UINT16;
}

// "i32", "f64", "big-endian i32"; of others the class.
std::string type_text(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_STRING) return "strings";
  if (kind != H5T_INTEGER && kind != H5T_FLOAT) return "another type";
  const char* letter = kind == H5T_FLOAT ? "f" : H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "i";
  return (H5Tget_order(type) == H5T_ORDER_BE ? "big-endian " : "") +
         (letter + std::to_string(8 * H5Tget_size(type)));
}

// What a failure inside HDF5 means to the one who writes.
struct WriteFailure {
  const char* expected;
  const char* remedy;
};
constexpr WriteFailure kNoMemory{"memory for the data set", "use smaller data files"};
constexpr WriteFailure kNoRoom{"a file that can be written", "free some space or choose another place"};

class Writer {
 public:
  Writer(const fs::path& path, hid_t file, const WriteFailure& failure)
      : path_(path), file_(file), failure_(failure) {}

  void attribute(const std::string& key, const std::string& value) const {
    require(value.size() <= kMaxAttribute, "hdf5", "an attribute above 32 KiB");
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    check(H5Tset_size(type, std::max<size_t>(value.size(), 1)));
    check(H5Tset_strpad(type, H5T_STR_NULLPAD));
    check(H5Tset_cset(type, H5T_CSET_UTF8));
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle attribute(H5Acreate2(file_, key.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(attribute);
    check(H5Awrite(attribute, type, value.c_str()));
  }

  // The byte at which the values begin; -1 where there are none yet.
  int64_t array(const Array& array, bool room_only) const {
    std::vector<hsize_t> extent(array.shape.begin(), array.shape.end());
    const Handle space(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
    const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    check(H5Pset_obj_track_times(creation, false));  // the same contents make the same bytes
    if (room_only) {
      check(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY));
      check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER));
    }
    const Handle values(H5Dcreate2(file_, array.name.c_str(), type_in_file(array.type), space, H5P_DEFAULT,
                                   creation, H5P_DEFAULT),
                        H5Dclose);
    check(values);
    const bool empty = std::find(extent.begin(), extent.end(), hsize_t{0}) != extent.end();
    if (!room_only && !empty) {
      check(H5Dwrite(values, type_in_memory(array.type), H5S_ALL, H5S_ALL, H5P_DEFAULT, array.values));
    }
    const haddr_t place = H5Dget_offset(values);
    return place == HADDR_UNDEF ? -1 : static_cast<int64_t>(place);
  }

  void check(int64_t status) const {
    if (status >= 0) return;
    fail(ExitCode::resource, {.place = path_.string(),
                              .key = "",
                              .expected = failure_.expected,
                              .found = "a failure inside HDF5",
                              .remedy = failure_.remedy});
  }

 private:
  fs::path path_;
  hid_t file_;
  WriteFailure failure_;
};

std::vector<int64_t> write_contents(const Writer& writer, hid_t file, const Attributes& attributes,
                                    const std::vector<Array>& arrays, bool room_only) {
  writer.check(file);
  for (const auto& [key, value] : attributes) writer.attribute(key, value);
  std::vector<int64_t> places;
  for (const Array& array : arrays) places.push_back(writer.array(array, room_only));
  writer.check(H5Fflush(file, H5F_SCOPE_GLOBAL));
  return places;
}

class Reader {
 public:
  Reader(const fs::path& path, const std::string& remedy, hid_t file, uint64_t file_bytes)
      : path_(path), remedy_(remedy), file_(file), file_bytes_(file_bytes) {}

  [[noreturn]] void bad_file(const std::string& key, const std::string& expected,
                             const std::string& found) const {
    fail(ExitCode::data,
         {.place = path_.string(), .key = key, .expected = expected, .found = found, .remedy = remedy_});
  }

  template <class T>
  std::vector<T> array(const std::string& name, hid_t expected_type, hid_t memory_type) const {
    H5L_info_t link;
    if (H5Lget_info(file_, name.c_str(), &link, H5P_DEFAULT) < 0) bad_file("/" + name, "a data set", "none");
    if (link.type != H5L_TYPE_HARD)
      bad_file("/" + name, "a data set in this file", "a soft or external link");
    const Handle object(H5Oopen(file_, name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid() || H5Iget_type(object) != H5I_DATASET)
      bad_file("/" + name, "a data set", "another object");
    check_storage(name, object);
    const Handle type(H5Dget_type(object), H5Tclose);
    if (!type.valid() || H5Tequal(type, expected_type) <= 0) {
      bad_file("/" + name, type_text(expected_type), type.valid() ? type_text(type) : "no type");
    }
    const Handle space(H5Dget_space(object), H5Sclose);
    const int rank = space.valid() ? H5Sget_simple_extent_ndims(space) : -1;
    if (rank != 1) bad_file("/" + name, "rank 1", "rank " + std::to_string(rank));
    hsize_t count = 0;
    H5Sget_simple_extent_dims(space, &count, nullptr);
    if (count > file_bytes_ / sizeof(T)) {
      bad_file("/" + name, "at most " + std::to_string(file_bytes_) + " bytes",
               std::to_string(count) + " values");
    }
    std::vector<T> values(count);
    if (count > 0 && H5Dread(object, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
      bad_file("/" + name, "readable values", "a failure inside HDF5");
    }
    return values;
  }

  std::map<std::string, std::string> attributes() const {
    H5O_info_t info;
    if (H5Oget_info2(file_, &info, H5O_INFO_NUM_ATTRS) < 0) bad_file("", "attributes", "none");
    std::map<std::string, std::string> found;
    for (hsize_t i = 0; i < info.num_attrs; ++i) {
      const Handle attribute(
          H5Aopen_by_idx(file_, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
      if (!attribute.valid()) bad_file("", "readable attributes", "a failure inside HDF5");
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
    if (!creation.valid() || H5Pget_nfilters(creation) != 0) bad_file("/" + name, "no filters", "a filter");
    const H5D_layout_t layout = H5Pget_layout(creation);
    if (layout == H5D_VIRTUAL || H5Pget_external_count(creation) != 0) {
      bad_file("/" + name, "values in this file", "values in other files");
    }
  }

  std::string text(const std::string& key, hid_t attribute) const {
    const Handle type(H5Aget_type(attribute), H5Tclose);
    const Handle space(H5Aget_space(attribute), H5Sclose);
    const size_t size = type.valid() ? H5Tget_size(type) : 0;
    if (size == 0 || size > kMaxAttribute || H5Tget_class(type) != H5T_STRING ||
        H5Tis_variable_str(type) != 0 || H5Sget_simple_extent_type(space) != H5S_SCALAR) {
      bad_file("attribute " + quote_value(key), "a string of fixed length", "another type");
    }
    std::string value(size, '\0');
    if (H5Aread(attribute, type, value.data()) < 0) {
      bad_file("attribute " + quote_value(key), "a readable value", "a failure inside HDF5");
    }
    value.resize(std::min(value.find('\0'), size));
    return value;
  }

  fs::path path_;
  std::string remedy_;
  hid_t file_;
  uint64_t file_bytes_;
};

}  // namespace

std::vector<std::byte> file_image(const fs::path& path, size_t user_block, const Attributes& attributes,
                                  const std::vector<Array>& arrays) {
  constexpr size_t kGrowth = size_t{16} << 20;
  const QuietHdf5 quiet;
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_userblock(creation, user_block);
  H5Pset_fapl_core(access, kGrowth, false);
  const Handle file(H5Fcreate("file in memory", H5F_ACC_TRUNC, creation, access), H5Fclose);
  const Writer writer(path, file, kNoMemory);
  write_contents(writer, file, attributes, arrays, false);
  const ssize_t size = H5Fget_file_image(file, nullptr, 0);
  writer.check(size);
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  writer.check(H5Fget_file_image(file, bytes.data(), bytes.size()));
  return bytes;
}

std::vector<int64_t> make_file_with_room(const fs::path& path, size_t user_block,
                                         const Attributes& attributes, const std::vector<Array>& arrays) {
  const QuietHdf5 quiet;
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_userblock(creation, user_block);
  without_locks(access);
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose);
  const Writer writer(path, file, kNoRoom);
  std::vector<int64_t> places = write_contents(writer, file, attributes, arrays, true);
  writer.check(file.close());
  return places;
}

struct File::Impl {
  Impl(const fs::path& path, const std::string& remedy)
      : access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose),
        file(open(path), H5Fclose),
        reader(path, remedy, file, fs::file_size(path)) {
    if (!file.valid()) reader.bad_file("", "an HDF5 file", "something else behind the first 512 bytes");
  }
  hid_t open(const fs::path& path) const {
    without_locks(access);
    return H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
  }

  QuietHdf5 quiet;
  Handle access, file;
  Reader reader;
};

File::File(const fs::path& path, const std::string& remedy) : impl_(std::make_unique<Impl>(path, remedy)) {}

File::~File() = default;

std::vector<int32_t> File::i32(const std::string& name) const {
  return impl_->reader.array<int32_t>(name, H5T_STD_I32LE, H5T_NATIVE_INT32);
}

std::vector<int64_t> File::i64(const std::string& name) const {
  return impl_->reader.array<int64_t>(name, H5T_STD_I64LE, H5T_NATIVE_INT64);
}

Attributes File::attributes() const {
  return impl_->reader.attributes();
}

}  // namespace gorgon::hdf5
