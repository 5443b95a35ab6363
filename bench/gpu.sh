#!/usr/bin/env bash
# One command on a machine with a GPU: builds the CUDA backend with nothing but the toolkit, runs its op tests (and
# compute-sanitizer where it works), times parts and whole steps, runs the PyTorch peer where PyTorch is, and writes one
# JSON file to bench/results/. Unattended, under ten minutes; what does not fit is left out and said.
#   bench/gpu.sh [PART...]     parts: tests sanitizer own peers (default: all, in this order)
# Environment: BUILD (build-gpu), PYTHON (python3), MODELS (zephyr-7b llama-3-8b smollm2-135m), OUT (bench/results),
#   SECONDS_LEFT (570), ARCHITECTURE (that of GPU 0), DEVICE (cuda; cpu: plain loops and tiny sizes, to try this script)
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build-gpu}
python=${PYTHON:-python3}
out=${OUT:-$root/bench/results}
device=${DEVICE:-cuda}
read -ra models <<<"${MODELS:-zephyr-7b llama-3-8b smollm2-135m}"
[ "$device" = cpu ] && models=(tiny)
[ $# -gt 0 ] || set -- tests sanitizer own peers
end=$((SECONDS + ${SECONDS_LEFT:-570}))
export GORGON_TEST_DEVICE=$device PYTHONUNBUFFERED=1 PATH=$PATH:/usr/local/cuda/bin
mkdir -p "$out" "$build"
rm -f "$build"/part-*.json

# seconds_for SHARE: of the time that is left, in percent; never 0, which `timeout` takes for no limit
seconds_for() {
  local seconds=$(((end - SECONDS) * $1 / 100))
  echo $((seconds > 5 ? seconds : 5))
}
say() { echo "== $* ($((end - SECONDS)) s left)" >&2; }
# note NAME TEXT: a result that is no figure
note() { printf '[{"what": "%s", "note": "%s"}]\n' "$1" "$(tr -d '"\\' <<<"$2" | tr -c '[:print:]\n' ' ')" >"$build/part-$1.json"; }
# measure NAME SECONDS PART...: by our own program; what it does not get to is a note
measure() {
  local name=$1 seconds=$2
  shift 2
  timeout $((seconds + 15)) "$build/gorgon_gpu_bench" "$build/part-$name.json" "$seconds" "$@"
  local status=$?
  [ $status = 0 ] || note "$name-status" "gorgon_gpu_bench $*: status $status"
}

say build
architecture=${ARCHITECTURE:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)}
generator=() keep_going=()  # what builds is run, whatever does not
command -v ninja >/dev/null && generator=(-G Ninja) keep_going=(0)
cmake -S "$root/bench/gpu" -B "$build" "${generator[@]}" -DGORGON_CUDA="$([ "$device" = cuda ] && echo ON || echo OFF)" \
  -DCMAKE_CUDA_ARCHITECTURES="${architecture:-90}-real" >"$build/configure.log" 2>&1 &&
  cmake --build "$build" -j "$(nproc)" -- -k "${keep_going[@]}" >"$build/build.log" 2>&1 || {
  tail -n 30 "$build/configure.log" "$build/build.log" >&2
  note build "failed: $(grep -m1 -hE 'rror' "$build/configure.log" "$build/build.log" | cut -c1-160)"
}

for part in "$@"; do
  say "$part"
  case $part in
    tests)
      timeout "$(seconds_for 25)" "$build/gorgon_gpu_tests" --json "$build/part-tests.json" >&2 ||
        [ -s "$build/part-tests.json" ] || note tests "did not end"
      for type in f32 bf16; do
        steps=$build/bitsandbytes-$type.bin
        if timeout 40 "$python" "$root/tests/oracle/adamw_cuda.py" --dtype "$type" --device "$device" "$steps" >&2 2>/dev/null; then
          measure "bitsandbytes-$type" 15 "bitsandbytes=$steps"
        else
          note "bitsandbytes-$type" "no bitsandbytes for this device"
        fi
      done
      ;;
    sanitizer)
      # The tests of kernels that share memory among threads, and of fp8: a whole training run under it takes too long.
      for tool in memcheck racecheck initcheck; do
        if ! command -v compute-sanitizer >/dev/null || [ "$device" != cuda ]; then
          note "$tool" "no compute-sanitizer here"
          continue
        fi
        timeout "$(seconds_for 6)" compute-sanitizer --tool "$tool" --error-exitcode 3 "$build/gorgon_gpu_tests" \
          TensorCoreAttention RmsNorm CrossEntropyGradient AdamW SquareSum Fp8Linear >"$build/$tool.log" 2>&1
        status=$?
        tail -n 3 "$build/$tool.log" >&2
        case $status in
          0) note "$tool" "clean" ;;
          124) note "$tool" "did not end in time" ;;
          *) note "$tool" "status $status: $(grep -m1 -E 'ERROR|Error|not supported' "$build/$tool.log" | tr -d '"\\' | cut -c1-160)" ;;
        esac
      done
      ;;
    own)
      share=$((50 / ${#models[@]}))
      measure machine "$(seconds_for 10)" machine optimizer
      measure reference "$(seconds_for 25)" reference
      for model in "${models[@]}"; do
        measure "own-$model" "$(seconds_for $share)" "$model"
      done
      ;;
    peers)
      where='torch.cuda.is_available()'
      [ "$device" = cpu ] && where=True
      if ! timeout 60 "$python" -c "import torch, sys; sys.exit(not $where)" 2>/dev/null; then
        note peers "no PyTorch for this device"
        continue
      fi
      left=$((2 * ${#models[@]}))
      for model in "${models[@]}"; do
        for style in tuned published; do
          seconds=$(seconds_for $((95 / left)))
          timeout $((seconds + 10)) "$python" "$root/bench/peer_pytorch_gpu.py" --model "$model" --style "$style" \
            --device "$device" --seconds "$seconds" --output "$build/part-peer-$model-$style.json" ||
            [ -s "$build/part-peer-$model-$style.json" ] || note "peer-$model-$style" "failed"
          left=$((left - 1))
        done
      done
      ;;
  esac
done

stamp=$(date -u +%Y%m%dT%H%M%SZ)
file=$out/gpu-$stamp.json
query() { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -1; }
{
  printf '{"made_by": "bench/gpu.sh %s", "date": "%s", "commit": "%s", "device": "%s", "driver": "%s",\n' \
    "$*" "$stamp" "$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)" "$(query name)" "$(query driver_version)"
  printf ' "clocks": {"sm": "%s", "max_sm": "%s", "memory": "%s"}, "power_limit": "%s", "memory": "%s",\n' \
    "$(query clocks.sm)" "$(query clocks.max.sm)" "$(query clocks.mem)" "$(query power.limit)" "$(query memory.total)"
  printf ' "toolkit": "%s", "compiler": "%s",\n "results": [\n' \
    "$(nvcc --version 2>/dev/null | sed -n 's/.*release \([^,]*\).*/\1/p')" "$(c++ --version | head -1)"
  first=1
  for part in "$build"/part-*.json; do
    [ -s "$part" ] || continue
    [ $first = 1 ] || printf ',\n'
    first=0
    # Every part is a list; its brackets go.
    tr '\n' ' ' <"$part" | sed 's/^ *\[//; s/\] *$//'
  done
  printf '\n]}\n'
} >"$file"
echo "wrote $file"
[ ! -e "$build/part-build.json" ]
