#include "trainer/heap.h"

#include <cstdlib>  // defines __GLIBC__

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace gorgon {

void give_back_large_blocks() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD,
          16 << 20);  // set by the line above to what a layer's buffers would cross each time
#endif
}

}  // namespace gorgon
