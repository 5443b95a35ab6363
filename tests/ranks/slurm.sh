#!/usr/bin/env bash
# usage: tests/ranks/slurm.sh [BUILD]     as root, from the top of the tree; BUILD = build
# Slurm for real on one machine (Debian: slurm-wlm, munge): its daemons under a folder of their own, srun by TCP and by PMIx,
# the batch file of docs/cluster.md, and its SIGTERM ahead of the time limit. Prints a line for each thing that held and ends
# with status 1 at the first that did not, with 77 (skipped) where Slurm is not installed or not allowed.
set -euo pipefail
build=$(realpath "${1:-build}")
for tool in slurmctld slurmd munged srun sbatch; do
  command -v $tool >/dev/null || { echo "skipped: no $tool (apt-get install slurm-wlm munge)"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: slurmd needs root"; exit 77; }

# Open MPI keeps memory of plug-ins that it has unloaded.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
work=$(mktemp -d /tmp/gorgon-slurm-XXXXXX)
chmod 755 "$work"
started=()
finish() {
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
held() { echo "ok: $*"; }
failed() { echo "NOT ok: $*"; tail -n 20 "$work"/*.log "$work"/*.out 2>/dev/null; exit 1; }
soon() { for _ in $(seq 300); do if "$@"; then return 0; fi; sleep 0.1; done; return 1; }

host=$(hostname -s)
mkdir "$work"/munge "$work"/state "$work"/spool
chmod 700 "$work"/munge
(umask 077; head -c 1024 /dev/urandom >"$work/munge/key")
mkdir -m 755 "$work/socket"
munged --foreground --force --key-file="$work/munge/key" --socket="$work/socket/munge" --pid-file="$work/munge/pid" \
  --log-file="$work/munge/log" --seed-file="$work/munge/seed" >"$work/munged.log" 2>&1 &
started+=($!)

cat >"$work/slurm.conf" <<END
ClusterName=gorgon
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$work/socket/munge
CredType=cred/munge
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
KillWait=30
OverTimeLimit=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
END
export SLURM_CONF=$work/slurm.conf
slurmctld -D -f "$SLURM_CONF" >"$work/slurmctld.log" 2>&1 &
started+=($!)
slurmd -D -f "$SLURM_CONF" >"$work/slurmd.log" 2>&1 &
started+=($!)
is_up() { sinfo -h -o %T 2>/dev/null | grep -qE 'idle|mixed|alloc'; }
soon is_up || failed "slurmctld and slurmd are up"
held "$(sinfo --version): $(sinfo -h -o '%N %C %T')"

"$build/tests/ranks/write_tiny_run" "$work"
train=("$build/trainer/gorgon" train "$work/run.yaml" --set global_batch_size=4)
same() { cmp -s "$work/$1/medusa_heads.safetensors" "$work/$2/medusa_heads.safetensors"; }

"$build/trainer/gorgon" train "$work/run.yaml" --set global_batch_size=4 --set "output_dir=$work/gpus" --gpus 2 >"$work/gpus.out" 2>&1
srun -n 2 --overcommit "${train[@]}" --set "output_dir=$work/plain" >"$work/plain.out" 2>&1 || failed "srun -n 2"
grep -q 'trained 8 steps' "$work/plain.out" && [ -s "$work/plain/logs/rank-1.log" ] || failed "srun -n 2: two ranks"
same plain gpus || failed "srun -n 2: the bits of --gpus 2"
held "srun -n 2: TCP, the bits of --gpus 2"
if srun --mpi=list 2>&1 | grep -q pmix; then
  srun --mpi=pmix -n 2 --overcommit "${train[@]}" --set "output_dir=$work/pmix" >"$work/pmix.out" 2>&1 || failed "srun --mpi=pmix -n 2"
  [ -s "$work/pmix/logs/rank-1.log" ] || failed "srun --mpi=pmix -n 2: two ranks"
  same pmix gpus || failed "srun --mpi=pmix -n 2: the bits of --gpus 2"
  held "srun --mpi=pmix -n 2: MPI, the bits of --gpus 2"
else
  echo "not run: srun --mpi=pmix (this Slurm has no PMIx)"
fi

# The file for GPUs differs from this one in two lines, which the guide has.
gpu_file=scripts/cluster/slurm-gpu.sbatch
cmp <(sed 2,3d "$gpu_file") <(sed 2,3d scripts/cluster/slurm.sbatch) || failed "slurm-gpu.sbatch differs from slurm.sbatch in two lines"
cmp <(sed -n 2,3p "$gpu_file") <(grep -e '^    #SBATCH.*--gpus-per-node' -e '^    srun --gpu-bind' docs/cluster.md | sed 's/^    //') ||
  failed "docs/cluster.md has slurm-gpu.sbatch's lines"

# The batch file of the guide, for one node and a short run; a long one is stopped by Slurm's own signal.
cp scripts/cluster/slurm.sbatch "$work/job.sh"
sed -n '/^    #!\/bin\/bash/,/^    exit/p' docs/cluster.md | sed 's/^    //' | cmp - "$work/job.sh" || failed "docs/cluster.md has slurm.sbatch"
sed -i -e '/^#SBATCH/d' -e "s|^srun gorgon train run.yaml|srun -n 2 --overcommit ${train[*]} \$GORGON_MORE|" "$work/job.sh"
submit() {
  env GORGON_MORE="$1" sbatch --parsable --overcommit --nodes=1 --ntasks-per-node=2 --signal=TERM@50 --requeue "${@:3}" \
    --output="$work/$2.out" --chdir="$work" "$work/job.sh"
}
ended() { [ -z "$(squeue -h -j "$1" 2>/dev/null)" ]; }
job=$(submit "--set output_dir=$work/batch" batch --time=10)
soon ended "$job" || failed "sbatch: the job ends"
grep -q 'trained 8 steps' "$work/batch.out" || failed "sbatch: trains"
same batch gpus || failed "sbatch: the bits of --gpus 2"
held "sbatch of the guide's batch file"

long="--set output_dir=$work/long --set max_steps=1000000 --set save_steps=0 --set eval_steps=0 --set logging_steps=0"
job=$(submit "$long" long --time=1)
waiting() { grep -qs 'stopped by SIGTERM\|another rank' "$work/long.out"; }
for _ in $(seq 150); do if waiting; then break; fi; sleep 1; done
waiting || failed "sbatch --signal=TERM@50: stopped"
requeued() { scontrol show job "$job" | grep -q 'Restarts=1'; }
soon requeued || failed "sbatch --signal=TERM@50: the job is requeued"
scancel "$job"
soon ended "$job" || failed "scancel: the job ends"
ls -d "$work"/long/checkpoint-* >/dev/null 2>&1 || failed "sbatch --signal=TERM@50: a checkpoint"
held "SIGTERM ahead of the time limit: $(ls "$work/long" | grep checkpoint-) is saved, the job requeued"
