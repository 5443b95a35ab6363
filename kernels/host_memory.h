#pragma once

#include <cstdint>
#include <optional>

namespace gorgon {

// Bytes of memory that this process can still get: what the system has available, and no more than the
// process' own limit (ulimit -v) leaves. Unset where the system does not tell. Allocates nothing: it is asked
// when there is nothing left.
std::optional<int64_t> free_host_bytes() noexcept;

}  // namespace gorgon
