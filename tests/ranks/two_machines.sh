#!/usr/bin/env bash
# usage: tests/ranks/two_machines.sh [BUILD]     as root, from the top of the tree; BUILD = build
# Two "machines" on one: network namespaces with host names of their own, joined by a veth pair and by nothing else. Ranks talk over
# it by TCP (torchrun's variables) and by MPI (mpirun, whose remote shell enters the other namespace); a rank is killed, a machine's
# cable is pulled. Prints a line for each thing that held and ends with status 1 at the first that did not, with 77 (skipped) where
# namespaces are not allowed.
set -euo pipefail
build=$(realpath "${1:-build}")
a=gorgon-a-$$ b=gorgon-b-$$
ip netns add $a 2>/dev/null || { echo "skipped: no network namespaces here (ip netns add)"; exit 77; }
# Open MPI keeps memory of plug-ins that it has unloaded.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
work=$(mktemp -d /tmp/gorgon-machines-XXXXXX)
finish() {
  for name in $a $b; do
    ip netns pids $name 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del $name 2>/dev/null || true
  done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
held() { echo "ok: $*"; }
failed() { echo "NOT ok: $*"; tail -n 5 "$work"/*.out "$work"/*.err 2>/dev/null; exit 1; }

ip netns add $b
ip link add name veth-a netns $a type veth peer name veth-b netns $b
for side in "$a a 10.77.0.1" "$b b 10.77.0.2"; do
  read -r name letter address <<<"$side"
  ip -n $name addr add "$address/24" dev veth-$letter
  ip -n $name link set veth-$letter up
  ip -n $name link set lo up
done

# on MACHINE(a|b) COMMAND...: in its network, under its host name.
cat >"$work/on" <<'END'
#!/usr/bin/env bash
machine=$1; shift
exec ip netns exec "$machine" unshare --uts bash -c 'hostname "$1"; shift; exec "$@"' on "${machine%-*}" "$@"
END
chmod +x "$work/on"
on() { "$work/on" "$@"; }

"$build/tests/ranks/write_tiny_run" "$work"
mkdir "$work/other"
"$build/tests/ranks/write_tiny_run" "$work/other"
rm "$work/other"/*.jsonl  # nothing but the model lies on the other machine
"$build/trainer/gorgon" train "$work/run.yaml" --set global_batch_size=4 --set "output_dir=$work/gpus" --gpus 2 >"$work/gpus.out" 2>&1
same() { cmp -s "$work/$1/medusa_heads.safetensors" "$work/gpus/medusa_heads.safetensors"; }
bytes_received() { on $b cat /sys/class/net/veth-b/statistics/rx_bytes; }

port=29511
# rank NUMBER MACHINE FOLDER RUN [--set ...]: one rank by variables; its status is written down.
rank() {
  local number=$1 machine=$2 folder=$3 run=$4; shift 4
  set +e
  GORGON_JOB=$run RANK=$number WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=10.77.0.1 MASTER_PORT=$port on "$machine" "$build/trainer/gorgon" train \
    "$folder/run.yaml" --set global_batch_size=4 --set "output_dir=$folder/$run" "$@" >"$work/$run.$number.out" 2>"$work/$run.$number.err"
  echo $? >"$work/$run.$number.status"
}
status() { cat "$work/$1.$2.status"; }
soon() { for _ in $(seq 600); do if "$@"; then return 0; fi; sleep 0.1; done; return 1; }

before=$(bytes_received)
rank 0 $a "$work" tcp & first=$!
rank 1 $b "$work/other" tcp & second=$!
wait $first $second
[ "$(status tcp 0) $(status tcp 1)" = "0 0" ] || failed "two machines over TCP"
same tcp || failed "two machines over TCP: the bits of one machine"
[ -s "$work/other/tcp/logs/rank-1.log" ] && [ ! -s "$work/tcp.1.out" ] || failed "rank 1 logs on its own machine and prints nothing"
held "two machines over TCP: the bits of --gpus 2; $(($(bytes_received) - before)) bytes reached the second in 8 steps"

long=(--set max_steps=1000000 --set eval_steps=0 --set save_steps=100 --set logging_steps=0 --set ddp_timeout=5)
steps() { [ -d "$work/$1/checkpoint-$2" ]; }
for how in killed unplugged; do
  port=$((port + 1))
  rank 0 $a "$work" $how "${long[@]}" & first=$!
  rank 1 $b "$work/other" $how "${long[@]}" & second=$!
  soon steps $how 200 || failed "$how: steps"
  began=$(date +%s)
  if [ $how = killed ]; then
    ip netns pids $b | xargs kill -9
  else
    ip -n $b link set veth-b down
  fi
  wait $first $second
  seconds=$(($(date +%s) - began))
  ip -n $b link set veth-b up
  [ "$(status $how 0)" = 7 ] || failed "$how: rank 0 ends with 7, not $(status $how 0)"
  grep -q "error: rank 1 on gorgon-b: step [0-9]*: expected its part" "$work/$how.0.err" || failed "$how: rank 0 says who"
  [ $how = killed ] || [ "$(status $how 1)" = 7 ] || failed "$how: rank 1 ends with 7 too"
  steps $how 200 || failed "$how: checkpoints stay"
  held "$how: $(sed -n 's/^error: //p' "$work/$how.0.err" | head -1 | cut -d';' -f1) ($seconds s)"
done

if ldd "$build/trainer/gorgon" | grep -q libmpi && command -v mpirun >/dev/null; then
  printf '#!/usr/bin/env bash\nshift\nexec %s %s bash -c "$*"\n' "$work/on" $b >"$work/agent"
  chmod +x "$work/agent"
  cat >"$work/choose" <<END
#!/usr/bin/env bash
folder=$work
[ "\$OMPI_COMM_WORLD_RANK" = 0 ] || folder=$work/other
exec $build/trainer/gorgon train \$folder/run.yaml --set global_batch_size=4 --set output_dir=\$folder/mpi
END
  chmod +x "$work/choose"
  on $a mpirun --allow-run-as-root -np 2 -H 10.77.0.1:1,10.77.0.2:1 --mca plm_rsh_agent "$work/agent" --mca btl tcp,self \
    --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 "$work/choose" >"$work/mpi.out" 2>&1 ||
    failed "two machines over MPI"
  [ -s "$work/other/mpi/logs/rank-1.log" ] || failed "two machines over MPI: two machines"
  same mpi || failed "two machines over MPI: the bits of one machine"
  held "two machines over MPI: the bits of --gpus 2"
else
  echo "not run: MPI (not in this build)"
fi
