#!/usr/bin/env bash
# usage: tests/ranks/mpijob.sh [BUILD]     from the top of the tree; BUILD = build
# The launchers' command lines of scripts/cluster/mpijob.yaml and mpijob-gpu.yaml, as their MPI operator would start them (a host file named by a variable),
# with this machine in the place of two workers. Status 77 (skipped) where there is no MPI.
set -euo pipefail
build=$(realpath "${1:-build}")
if ! command -v mpirun >/dev/null || ! ldd "$build/trainer/gorgon" | grep libmpi >/dev/null; then echo "skipped: no MPI"; exit 77; fi
# Open MPI keeps memory of plug-ins that it has unloaded.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
work=$(mktemp -d "${TMPDIR:-/tmp}/gorgon-mpijob-XXXXXX")
trap 'rm -rf "$work"' EXIT
"$build/tests/ranks/write_tiny_run" "$work"
echo "localhost slots=2" >"$work/hostfile"
mkdir "$work/mpi"
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}  # as in NVIDIA's images

# run FILE: its launcher's words, for two ranks on CPUs.
run() {
  local words=()
  while read -r word; do words+=("$word"); done < <(sed -n '/name: launcher/,/volumeMounts/s/^ *- \(.*\)$/\1/p' "$1" |
    grep -v -e '^name:' -e '^{' | tr -d '"' | sed -e "s|^/work$|$work|" -e 's/^16$/2/' -e 's/^device=cuda$/device=cpu/')
  [ "${words[0]}" = mpirun ] || { echo "NOT ok: no command in $1: ${words[*]}"; exit 1; }
  rm -rf "$work/run"
  PATH=$build/trainer:$PATH OMPI_MCA_orte_default_hostfile=$work/hostfile OMPI_MCA_orte_tmpdir_base=$work/mpi \
    "${words[@]}" >"$work/out" 2>&1 || { echo "NOT ok: ${words[*]}"; cat "$work/out"; exit 1; }
  if [ ! -s "$work/run/logs/rank-1.log" ] || ! grep -q "trained 8 steps" "$work/out"; then
    echo "NOT ok: two ranks"; cat "$work/out"; exit 1
  fi
  echo "ok: ${words[*]}"
}
run scripts/cluster/mpijob.yaml
run scripts/cluster/mpijob-gpu.yaml
