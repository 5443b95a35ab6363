# Device code of this folder; see kernels/cuda/sources.cmake.
set(gorgon_optim_kernels
  adamw_kernels.cu
  gradient_clipping_kernels.cu
  step_scalars_kernels.cu
)
