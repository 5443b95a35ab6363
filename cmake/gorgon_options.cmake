# Warnings are errors in every target of ours; the same flags in every folder.
add_library(gorgon_options INTERFACE)
target_compile_options(gorgon_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wnon-virtual-dtor;-Werror>
  # GCC 12 warns of an overlap that cannot be in std::string's operator+ (GCC bug 105651).
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-restrict>
  # No contraction behind our back: a*b+c is fused only where the source says so (reproducible numbers).
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>
  $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;--Werror=all-warnings>)
target_include_directories(gorgon_options INTERFACE ${CMAKE_SOURCE_DIR})
if(GORGON_SANITIZE)
  target_compile_options(gorgon_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1
    # GCC's own manual: the sanitizers make it warn of values that are set.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(gorgon_options INTERFACE -fsanitize=address,undefined)
endif()
if(GORGON_FUZZ)
  target_compile_options(gorgon_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_link_options(gorgon_options INTERFACE -fsanitize=address,undefined)
endif()

# gorgon_library(NAME SOURCES... [LINK ...]): a static library of one top-level folder.
function(gorgon_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC gorgon_options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()
