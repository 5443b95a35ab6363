#!/usr/bin/env bash
# usage: tests/ranks/sagemaker.sh [BUILD]     from the top of the tree; BUILD = build
# The container entry for SageMaker against a folder that looks like /opt/ml: one host, two hosts, an interruption, a mistake. Prints
# a line for each thing that held and ends with status 1 at the first that did not, with 77 (skipped) where there is no Python.
set -euo pipefail
build=$(realpath "${1:-build}")
entry=$(realpath scripts/cluster/sagemaker_train.py)
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/gorgon-sagemaker-XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
held() { echo "ok: $*"; }
failed() { echo "NOT ok: $*"; tail -n 5 "$work"/*.log; exit 1; }

# prefix NAME HYPERPARAMETERS: what SageMaker lays down for a container.
prefix() {
  mkdir -p "$work/$1"/{input/config,input/data/train,input/data/test,input/data/model,model,output,checkpoints} "$work/$1/source"
  "$build/tests/ranks/write_tiny_run" "$work/$1/source"
  mv "$work/$1/source/train.jsonl" "$work/$1/input/data/train/"
  mv "$work/$1/source/eval.jsonl" "$work/$1/input/data/test/"
  mv "$work/$1/source/model"/* "$work/$1/input/data/model/"
  printf '%s' "$2" >"$work/$1/input/config/hyperparameters.json"
}
parameters='{"max_seq_length": "64", "medusa_num_heads": "2", "max_steps": "8", "learning_rate": "1e-2", "global_batch_size": "4",
  "bf16": "\"true\"", "save_steps": "2", "eval_steps": "4", "sagemaker_program": "\"train.py\""}'
start() { python3 "$entry" --prefix "$work/$1" --gorgon "$build/trainer/gorgon" train >"$work/$1.log" 2>&1; }

# How many ranks a host starts.
mkdir "$work/dev"
touch "$work"/dev/{nvidia0,nvidia1,nvidia10,nvidiactl,nvidia-uvm}
gpus() {
  env "$@" PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(dirname "$entry")" python3 -c \
    'import pathlib, sys, sagemaker_train; print(sagemaker_train.count_gpus(pathlib.Path(sys.argv[1])))' "$work/dev"
}
[ "$(gpus -u SM_NUM_GPUS)" = 3 ] || failed "GPUs are counted where SM_NUM_GPUS is missing"
[ "$(gpus SM_NUM_GPUS=8)" = 8 ] || failed "SM_NUM_GPUS"
held "a rank per GPU, by SM_NUM_GPUS or by the devices"
export SM_NUM_GPUS=0  # whatever this machine has

prefix one "$parameters"
start one || failed "one host"
for file in medusa_lm_head.safetensors config.json base-model/config.json base-model/model.safetensors; do
  [ -s "$work/one/model/$file" ] || failed "one host: model/$file"
done
[ -d "$work/one/checkpoints/run/checkpoint-8" ] && [ ! -e "$work/one/output/failure" ] || failed "one host: checkpoints, no failure"
"$build/trainer/gorgon" generate "$work/one/model" --model "$work/one/model/base-model" --prompt "How many?" --max-new-tokens 4 \
  >"$work/generate.log" 2>&1 || failed "one host: generate reads model/ and model/base-model/"
held "one host: heads and base-model/ in model/"

for host in first second; do
  prefix $host "$parameters"
  printf '{"current_host": "%s", "hosts": ["127.0.0.2", "127.0.0.1"]}' $([ $host = first ] && echo 127.0.0.1 || echo 127.0.0.2) \
    >"$work/$host/input/config/resourceconfig.json"
done
start second & second=$!
start first || failed "two hosts: the first"
wait $second || failed "two hosts: the second"
[ -s "$work/second/checkpoints/run/logs/rank-1.log" ] || failed "two hosts: two ranks"
[ -s "$work/first/model/medusa_lm_head.safetensors" ] && [ -z "$(ls "$work/second/model")" ] || failed "two hosts: the first has the model"
held "two hosts: one rank each, model/ on the first"

prefix stopped "${parameters/\"max_steps\": \"8\"/\"max_steps\": \"1000000\"}"
python3 "$entry" --prefix "$work/stopped" --gorgon "$build/trainer/gorgon" train >"$work/stopped.log" 2>&1 & process=$!
for _ in $(seq 600); do ls -d "$work"/stopped/checkpoints/run/checkpoint-* >"$work/saved" 2>&1 && break; sleep 0.05; done
kill -TERM $process
status=0; wait $process || status=$?
[ $status = 75 ] || failed "SIGTERM: status 75, not $status"
saved=$(ls -d "$work"/stopped/checkpoints/run/checkpoint-* | sed 's/.*-//' | sort -n | tail -1)
printf '%s' "${parameters/\"max_steps\": \"8\"/\"max_steps\": \"1000000\"}" >"$work/stopped/input/config/hyperparameters.json"
python3 "$entry" --prefix "$work/stopped" --gorgon "$build/trainer/gorgon" train >"$work/again.log" 2>&1 & process=$!
for _ in $(seq 600); do grep -q "resumes behind step" "$work/again.log" && break; sleep 0.05; done
kill -TERM $process
wait $process || true
grep -q "resumes behind step $saved of 1000000" "$work/again.log" || failed "SIGTERM: the next start goes on at step $saved"
held "SIGTERM: saved at step $saved, and gone on from there"

prefix wrong '{"learning_rat": "1"}'
status=0; start wrong || status=$?
[ $status = 2 ] || failed "a wrong hyperparameter: status 2, not $status"
grep -q "did you mean learning_rate" "$work/wrong/output/failure" || failed "a wrong hyperparameter: output/failure"
held "a wrong hyperparameter: $(cat "$work/wrong/output/failure")"
