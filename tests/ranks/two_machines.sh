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
# What TCP carried to both: every packet has 66 bytes of Ethernet, IPv4 and TCP with time stamps around it.
payload_received() {
  for side in $a $b; do
    on $side bash -c 'cat /sys/class/net/veth-[ab]/statistics/rx_{bytes,packets}' | paste -sd' '
  done | awk '{ sum += $1 - 66 * $2 } END { printf "%d", sum }'
}
# Segments that TCP sent again, of which a slow machine makes some: they cross the cable twice.
sent_again() {
  for side in $a $b; do
    on $side awk '/^Tcp:/ { if (!column) { for (i = 1; i <= NF; i++) if ($i == "RetransSegs") column = i } else print $column }' /proc/net/snmp
  done | awk '{ sum += $1 } END { print sum }'
}

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

# both RUN [--set ...]: rank 0 on the first machine, rank 1 on the second, to the end.
both() {
  port=$((port + 1))
  rank 0 $a "$work" "$@" & first=$!
  rank 1 $b "$work/other" "$@" & second=$!
  wait $first $second
  [ "$(status "$1" 0) $(status "$1" 1)" = "0 0" ] || failed "two machines over TCP: $1"
}
both tcp
same tcp || failed "two machines over TCP: the bits of one machine"
[ -s "$work/other/tcp/logs/rank-1.log" ] && [ ! -s "$work/tcp.1.out" ] || failed "rank 1 logs on its own machine and prints nothing"
held "two machines over TCP: the bits of --gpus 2"

# Bytes of a step: what 200 more steps bring, which are all that two runs differ in. For 2 heads of one ResBlock, H = 32, V = 536, bf16,
# n = 2, by the formula of docs/traffic.md; a sequence a rank, so that no head has more than 64 rows, to which they are padded.
received() {
  local before=$(payload_received) again=$(sent_again)
  both "$@" --set global_batch_size=2 --set eval_steps=0 --set save_steps=0 --set logging_steps=0
  echo $(($(payload_received) - before)) $(($(sent_again) - again))
}
for mode in replicate vocab; do
  read -r few few_again < <(received $mode-50 --set parallel_heads=$mode --set max_steps=50)
  read -r many many_again < <(received $mode-250 --set parallel_heads=$mode --set max_steps=250)
  states=$(python3 - "$work" $mode <<'END'
import json, sys
rows = [[json.loads(line).get("rows") for line in open(f"{sys.argv[1]}/{sys.argv[2]}-{steps}/metrics.jsonl")] for steps in (50, 250)]
print((sum(r for r in rows[1] if r) - sum(r for r in rows[0] if r)) / 200)
END
  )
  awk -v mode=$mode -v found=$(((many - few) / 200)) -v again=$((few_again + many_again)) -v states="$states" 'BEGIN {
    heads = 2; hidden = 32; vocabulary = 536; rows = 64 * heads
    if (mode == "replicate") formula = 2 * heads * (hidden * hidden + hidden + vocabulary * hidden) * 2 + 2 * heads * 48 + 2 * 2 * heads * 8 + 2 * 4 * 3 * heads
    else formula = states * hidden * 2 + rows * hidden * (2 + 4) + heads * hidden * 2 + 2 * 12 * rows + 2 * 4 * rows + 2 * 4 * 3 * heads
    beside = 2 * 3 * 8 + 2 * 8
    printf "%s: two machines received %d bytes a step, %.0f by the formula and %d beside it\n", mode, found, formula, beside
    difference = found - formula - beside
    exit (difference < 0 ? -difference : difference) > 0.002 * formula + again * 1448 / 200
  }' >"$work/$mode.traffic" || { cat "$work/$mode.traffic"; failed "$mode: the bytes of the formula"; }
  held "$(cat "$work/$mode.traffic")"
done

long=(--set max_steps=1000000 --set eval_steps=0 --set save_steps=100 --set logging_steps=0 --set ddp_timeout=5)
saved() { ls -d "$work/$1"/checkpoint-* >/dev/null 2>&1; }  # the first is gone when there are newer ones
for how in killed unplugged; do
  port=$((port + 1))
  rank 0 $a "$work" $how "${long[@]}" & first=$!
  rank 1 $b "$work/other" $how "${long[@]}" & second=$!
  soon saved $how || failed "$how: steps"
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
  saved $how || failed "$how: checkpoints stay"
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
