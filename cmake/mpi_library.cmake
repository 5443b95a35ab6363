# GORGON_MPI: AUTO builds with MPI where it is, ON must, OFF never. Ranks that mpirun did not start need none.
# Sets GORGON_WITH_MPI.
set(GORGON_WITH_MPI OFF)
if(NOT GORGON_MPI STREQUAL "OFF")
  set(MPI_CXX_SKIP_MPICXX ON)
  find_package(MPI QUIET COMPONENTS CXX)
  set(GORGON_WITH_MPI ${MPI_CXX_FOUND})
  if(GORGON_MPI STREQUAL "ON" AND NOT GORGON_WITH_MPI)
    message(FATAL_ERROR "GORGON_MPI=ON: no MPI found; install libopenmpi-dev")
  endif()
endif()
message(STATUS "MPI: ${GORGON_WITH_MPI}")
