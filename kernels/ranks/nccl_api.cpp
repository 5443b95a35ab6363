#include "kernels/ranks/nccl_api.h"

#include <dlfcn.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

template <typename Function>
void find(void* library, const std::string& file, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  if (function != nullptr) return;
  fail(ExitCode::resource, {file, name, "a function of NCCL 2.14 or later", "none", "install a newer NCCL"});
}

}  // namespace

NcclApi open_nccl(const std::string& library) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = ::dlerror();
    fail(ExitCode::resource,
         {library, "device", "NVIDIA's NCCL, by which GPUs of several ranks talk",
          reason == nullptr ? "none" : reason,
          "install libnccl2 and see that the loader finds it (LD_LIBRARY_PATH), or set device: cpu"});
  }
  NcclApi api;
  find(handle, library, "ncclGetUniqueId", api.get_unique_id);
  find(handle, library, "ncclCommInitRankConfig", api.comm_init_rank_config);
  find(handle, library, "ncclCommDestroy", api.comm_destroy);
  find(handle, library, "ncclCommAbort", api.comm_abort);
  find(handle, library, "ncclGetErrorString", api.get_error_string);
  find(handle, library, "ncclCommGetAsyncError", api.comm_get_async_error);
  find(handle, library, "ncclAllReduce", api.all_reduce);
  find(handle, library, "ncclAllGather", api.all_gather);
  find(handle, library, "ncclReduceScatter", api.reduce_scatter);
  find(handle, library, "ncclReduce", api.reduce);
  find(handle, library, "ncclBroadcast", api.broadcast);
  find(handle, library, "ncclGroupStart", api.group_start);
  find(handle, library, "ncclGroupEnd", api.group_end);
  return api;
}

}  // namespace gorgon
