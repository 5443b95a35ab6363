#pragma once

#include <cstddef>
#include <string>

namespace gorgon {

// What is used of NCCL (2.14 and later), as its documentation declares it: the library is found when a job
// needs it, so that a build needs neither it nor its header. Functions return a NcclResult. Streams are
// cudaStream_t.
enum NcclResult : int { kNcclSuccess = 0, kNcclInProgress = 7 };  // and errors
struct NcclId {
  char bytes[128];
};
enum class NcclType { u8 = 1, i32 = 2, i64 = 4, f32 = 7, bf16 = 9 };  // ncclDataType_t
enum class NcclOp { sum = 0, max = 2 };                               // ncclRedOp_t

// ncclConfig_t as of 2.14; later versions give what they added its default.
struct NcclConfig {
  size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;
};

struct NcclApi {
  int (*get_unique_id)(NcclId* id) = nullptr;
  int (*comm_init_rank_config)(void** comm, int size, NcclId id, int rank, NcclConfig* config) = nullptr;
  int (*comm_destroy)(void* comm) = nullptr;
  int (*comm_abort)(void* comm) = nullptr;
  const char* (*get_error_string)(int result) = nullptr;
  int (*comm_get_async_error)(void* comm, int* result) = nullptr;
  int (*all_reduce)(const void* from, void* to, size_t count, int type, int op, void* comm,
                    void* stream) = nullptr;
  // Equal parts of `count` elements each.
  int (*all_gather)(const void* from, void* to, size_t count, int type, void* comm, void* stream) = nullptr;
  int (*reduce_scatter)(const void* from, void* to, size_t count, int type, int op, void* comm,
                        void* stream) = nullptr;
  int (*reduce)(const void* from, void* to, size_t count, int type, int op, int root, void* comm,
                void* stream) = nullptr;
  int (*broadcast)(const void* from, void* to, size_t count, int type, int root, void* comm,
                   void* stream) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
};

// Opens the shared library, for the rest of the process. Throws Error(resource) naming it, or the function
// that it lacks.
NcclApi open_nccl(const std::string& library = "libnccl.so.2");

}  // namespace gorgon
