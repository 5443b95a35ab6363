#!/usr/bin/env bash
# Fuzzes the readers of files, one after the other (clang-16, libFuzzer, AddressSanitizer, UBSan).
# usage: scripts/fuzz.sh [SECONDS_EACH [TARGET...]]      default: 60 seconds each, all targets
# Prints a line a target with the inputs run. An input that fails stays in BUILD/crashes; when it is mended, it
# goes into tests/fuzz/regress/TARGET, where the ordinary tests run it. BUILD and JOBS may be set.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
targets=("${@:2}")
build=${BUILD:-build-fuzz}
if [ ${#targets[@]} -eq 0 ]; then mapfile -t targets < <(ls tests/fuzz/regress); fi

cmake -S . -B "$build" -G Ninja -DGORGON_FUZZ=ON -DGORGON_CUDA=OFF -DGORGON_TESTS=ON -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 \
  -DCMAKE_CXX_COMPILER=clang++-16 -DCMAKE_C_COMPILER=clang-16 >/dev/null
cmake --build "$build" --target "${targets[@]/#/fuzz_}" -- -j "${JOBS:-$(nproc)}"
mkdir -p "$build/crashes"
status=0
for target in "${targets[@]}"; do
  mkdir -p "$build/corpus/$target"
  log=$build/$target.log
  if "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$build/crashes/$target-" \
    "$build/corpus/$target" "tests/fuzz/regress/$target" >"$log" 2>&1; then
    result=ok
  else
    result="FAILED, see $log"
    status=1
  fi
  printf '%-16s %10s inputs  %s\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$result"
done
exit $status
