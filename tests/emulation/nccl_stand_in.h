#pragma once

#include <cstdint>

// NCCL's library (libnccl.so.2) for processes of one machine whose GPUs are emulated: nccl_api.h's functions
// under their own names, for open_nccl() to find. As of NCCL:
//   Communicators do not block. A call returns ncclInProgress, and so does ncclCommGetAsyncError for a while;
//   only then is the work in its stream, and a call before that is refused (ncclInvalidUsage).
//   Work runs in the stream's order, which is when somebody waits for the stream (cuda_runtime.h): values
//   that are read, or their memory used again, without a wait are wrong. Calls of a group run together.
//   Work whose ranks do not all come waits for them until ncclCommAbort, and leaves what it had.
// It takes as much of the emulated device's time as it takes here, the wait for other ranks included.
// Bytes go over TCP from process to process; sums are taken in the order of ranks, of bf16 in f32. A rank
// receives of an all_reduce the n - 1 other ranks' share of its part, then their parts; of a broadcast its
// bytes; the root of a reduce those of the n - 1 others.
//
// GORGON_NCCL_FAULT=async:RANK:COLLECTIVE: NCCL notices at rank RANK that another one is gone (asynchronous
// error ncclRemoteError) in the collective of this number, which does not end. call:RANK:COLLECTIVE: the call
// itself fails. A group is one collective; they count from 1.
extern "C" {
int64_t gorgon_nccl_bytes_received();  // by this process, from others
}
