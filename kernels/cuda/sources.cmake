# Device code: compiled by nvcc for the backend, and as C++ by the tests that emulate a GPU.
set(gorgon_cuda_kernels
  attention_cuda.cpp
  attention_kernels.cu
  attention_tensor_kernels.cu
  convert_kernels.cu
  dequantise_kernels.cu
  embedding_kernels.cu
  fp8_kernels.cu
  gemm_kernels.cu
  loss_sums_kernels.cu
  resblock_kernels.cu
  rms_norm_kernels.cu
  rotary_embedding_kernels.cu
  swiglu_kernels.cu
  vocabulary_cross_entropy_kernels.cu
)
# Host code of the backend that calls the toolkit's libraries; the tests put stand-ins in its place.
set(gorgon_cuda_libraries
  device_cuda.cpp
  gemm_cuda.cpp
  repeated_work_cuda.cpp
  side_queue_cuda.cpp
  transfer_cuda.cpp
)
