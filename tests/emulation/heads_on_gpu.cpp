#include "kernels/ranks/nccl_communicator.h"
#include "tests/emulation/nccl_stand_in.h"
#include "tests/ranks/heads_device.h"

namespace gorgon {

Device heads_device() {
  return {DeviceKind::cuda, 0};
}

std::unique_ptr<Communicator> heads_communicator(RankGroup& group) {
  return std::make_unique<NcclCommunicator>(emulation::nccl_stand_in(), group.host(), heads_device());
}

}  // namespace gorgon
