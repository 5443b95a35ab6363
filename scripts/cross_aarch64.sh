#!/usr/bin/env bash
# Builds the program and its tests for aarch64 on an x86-64 Debian 12 and runs them under qemu-user: what they compute is then proven,
# how fast is not. tests/README.md has what it printed. Not part of `make test`: it takes hours.
# usage: scripts/cross_aarch64.sh [TEST...]      default: all of `tests` below, then a run on the small model beside the same on this chip
# Compiler, emulator and packages are unpacked into BUILD/packages, never installed. BUILD, JOBS and GTEST_FILTER may be set; NATIVE is
# the program of this chip; QEMU_CPU chooses another chip (cortex-a72: no SVE).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build-aarch64}
native=${NATIVE:-build/trainer/gorgon}
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
mkdir -p "$build/packages" "$build/logs"
cross=$(cd "$build/packages" && pwd)
tests=(kernels/test_kernels optim/test_optim data/test_containers data/test_text data/test_dataset model/test_model_files model/test_model
  model/test_decoding trainer/test_program)
if [ $# -gt 0 ]; then tests=("$@"); fi

# unpack ARCHITECTURE FOLDER PACKAGE...: with all that they need, by an apt of its own that knows no installed package.
unpack() {
  local architecture=$1 folder=$cross/$2 apt=$cross/apt-$1
  if [ -e "$folder/.whole" ]; then return; fi
  mkdir -p "$folder" "$apt/lists/partial" "$apt/archives/partial"
  : >"$apt/status"
  local options=(-qq -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o "Dir::State=$apt"
    -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt" -o APT::Install-Recommends=false -o Acquire::Languages=none
    -o "APT::Sandbox::User=" -o Debug::NoLocking=1)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" -y install --download-only "${@:3}"
  local package
  for package in "$apt"/archives/*.deb; do dpkg-deb -x "$package" "$folder"; done
  rm -r "$apt"
  touch "$folder/.whole"
}

# Links and linker scripts name files of an installed system.
move_links() {
  local link
  find "$cross/sysroot" -type l -lname '/*' | while read -r link; do
    ln -sfnr "$cross/sysroot$(readlink "$link")" "$link"
  done
  sed -i 's|/usr/aarch64-linux-gnu/lib/||g' "$cross/host/usr/aarch64-linux-gnu/lib/libc.so"
}

write_commands() {
  local host=$cross/host name
  mkdir -p "$cross/bin"
  for name in gcc g++ ar ranlib; do
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$host/usr/lib/x86_64-linux-gnu" "$host/usr/bin/aarch64-linux-gnu-$name" \
      >"$cross/bin/aarch64-linux-gnu-$name"
  done
  printf '#!/bin/sh\nexec %s -L %s "$@"\n' "$host/usr/bin/qemu-aarch64-static" "$cross/sysroot" >"$cross/bin/emulator"
  chmod +x "$cross/bin/"*
}

prepare() {
  if [ -e "$cross/.whole" ]; then return; fi
  unpack arm64 sysroot g++ libdnnl-dev libhwy-dev libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libhdf5-dev libpcre2-dev libutf8proc-dev \
    libfmt-dev libspdlog-dev libssl-dev libgtest-dev libgmock-dev
  unpack amd64 host g++-aarch64-linux-gnu qemu-user-static
  move_links
  write_commands
  touch "$cross/.whole"
}

run_test() {
  local name=${1##*/} start=$SECONDS log result=0
  log=$build/logs/$name.log
  "$cross/bin/emulator" "$build/tests/$1" --gtest_brief=1 >"$log" 2>&1 || result=$?
  printf '%-18s %s; %d s%s\n' "$name" "$(sed -nE 's/^\[  (PASSED|SKIPPED|FAILED) *\] ([0-9]+) tests?.*/\2 \1/p' "$log" | paste -sd, -)" \
    $((SECONDS - start)) "$([ $result = 0 ] || echo ", status $result: $log")"
  return $((result != 0))
}

# A run of two steps and an answer: train_and_answer NAME BF16 PROGRAM...
train_and_answer() {
  local run=$build/compare/$1
  "${@:3}" train "$build/compare/run.yaml" --force --set "bf16=$2" --set "output_dir=$run" >"$run.log" 2>&1
  "${@:3}" generate "$run" --prompt "Name three colours." --max-new-tokens 8 >"$run.txt" 2>"$run-generate.log"
}

# The bounds are those of tests/trainer/reference_training_test.cpp: f32 against PyTorch (32-bit AdamW), bf16 against f32.
compare() {
  local bf16 bound status=0
  mkdir -p "$build/compare"
  "$cross/bin/emulator" "$build/data/generator/chat_generator" --task sql --rows 4 --split train --output "$build/compare/rows.jsonl"
  printf '%s\n' "model_path: $model" "train_dataset_path: $build/compare/rows.jsonl" "output_dir: $build/compare/run" \
    "max_seq_length: 16" "assistant_only_loss: false" "medusa_num_heads: 2" "medusa_vocab: seen" "optim: adamw" \
    "learning_rate: 1.0e-4" "max_steps: 2" >"$build/compare/run.yaml"
  for bf16 in false true; do
    bound=5e-6
    if [ $bf16 = true ]; then bound=2e-2; fi
    train_and_answer "x86-bf16-$bf16" $bf16 "$native"
    train_and_answer "aarch64-bf16-$bf16" $bf16 "$cross/bin/emulator" "$build/trainer/gorgon"
    echo "bf16: $bf16, two steps on this chip and on aarch64"
    scripts/compare_losses.py "$build/compare/x86-bf16-$bf16/metrics.jsonl" "$build/compare/aarch64-bf16-$bf16/metrics.jsonl" $bound || status=1
    cmp "$build/compare/x86-bf16-$bf16.txt" "$build/compare/aarch64-bf16-$bf16.txt" && echo "  the same answer" || status=1
  done
  return $status
}

prepare
cmake -S . -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64_toolchain.cmake -DGORGON_CROSS="$cross" -DGORGON_CUDA=OFF \
  -DGORGON_MPI=OFF >/dev/null
cmake --build "$build" --target gorgon chat_generator "${tests[@]##*/}" -- -j "${JOBS:-$(nproc)}"
"$cross/bin/emulator" "$build/trainer/gorgon" --version
status=0
for test in "${tests[@]}"; do run_test "$test" || status=1; done
if [ $# -gt 0 ]; then exit $status; fi
if [ -e $model ] && [ -x "$native" ]; then
  compare || status=1
else
  echo "no comparison: it needs $model (scripts/fetch_model.sh) and $native (make build)"
fi
exit $status
