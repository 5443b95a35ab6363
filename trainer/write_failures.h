#pragma once

namespace gorgon {

// Writing beyond the limit of a file's size (ulimit -f) fails as on a full disk, for the whole process: by
// itself the kernel ends it there by SIGXFSZ.
void let_writes_fail();

}  // namespace gorgon
