#!/usr/bin/env bash
# Checks and times prebuilt programs on the GPU of this machine, against what else it finds there. Needs bash, Python
# with NumPy, and what prepare.py made; for peers, a Python with torch.
#
# run.sh FOLDER [--quick] [--out FOLDER] [--minutes N] [--seconds N] [--repeats N] [--only PATTERN]
#        [--python PYTHON] [--peers PYTHON] [--driver FILE] [--device cuda|cpu]
#     --quick    the few pieces that say most, for ten minutes on a device
#     --out      where results go (default FOLDER/results): a JSON file a piece, log.txt, table.md
#     --minutes  after so many no further piece is begun (default 4); --seconds bounds one piece (default 300)
#     --repeats  timed runs of programs and workloads (default: as many as half a second or a few seconds take)
#     --peers    the Python of other implementations (default: that of --python)
#     --driver FILE and --device cpu are for rehearsals: another CUDA driver, and peers on the CPU
#
# Each piece is a process of its own (pieces.py lists them, in the order of what is worth most) and leaves a file. What
# has one is not repeated, so the same command goes on where it stopped. A piece that is wrong or fails says so, in the
# table too, stops no other, and is tried again last.
set -u

die() { echo "run.sh: $*" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
folder= out= minutes=4 seconds=300 python=python3 peers= list=() run=()
while [ $# -gt 0 ]; do
  case $1 in
    --out | --minutes | --seconds | --repeats | --only | --python | --peers | --driver | --device)
      [ $# -gt 1 ] || die "$1 needs a value" ;;&
    --quick) list+=(--quick) run+=(--quick) ;;
    --out) out=$2; shift ;;
    --minutes) minutes=$2; shift ;;
    --seconds) seconds=$2; shift ;;
    --only) list+=(--only "$2"); shift ;;
    --python) python=$2; shift ;;
    --peers) peers=$2; shift ;;
    --repeats | --driver | --device) run+=("$1" "$2"); shift ;;
    -*) die "unknown option '$1'; the head of this file lists them" ;;
    *) [ -z "$folder" ] || die "one folder, got '$folder' and '$1'"; folder=$1 ;;
  esac
  shift
done
[ -e "$folder/prepared.json" ] || die "expected a folder that prepare.py made, got '$folder'"
out=${out:-$folder/results}
peers=${peers:-$python}
mkdir -p "$out" || exit 1
log=$out/log.txt
end=$((SECONDS + minutes * 60))
query=clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active

note() { echo "$(date -u +%FT%TZ) $*" | tee -a "$log"; }

# Clocks, power and temperature now, where the machine can tell them.
state() {
  nvidia-smi --query-gpu=$query --format=csv,noheader 2> /dev/null || echo 'no nvidia-smi: clocks and power unknown'
}

# Samples the same beside a command.
with_clocks() {
  local samples=$1 sampler= status
  shift
  if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=$query --format=csv,noheader,nounits -lms 200 > "$samples" 2> /dev/null &
    sampler=$!
  fi
  timeout "$seconds" "$@"
  status=$?
  if [ -n "$sampler" ]; then
    kill "$sampler" 2> /dev/null
    wait "$sampler" 2> /dev/null
  fi
  return $status
}

# One piece by its interpreter: a result, or the reason why there is none.
piece() {
  local name=$1 interpreter=$2 to=$out/$1 status
  note "$name: before: $(state)"
  with_clocks "$to.clocks" "$interpreter" "$here/pieces.py" run "$folder" "$out" "$name" --seconds "$seconds" \
    ${run[@]+"${run[@]}"} > "$to.part" 2> "$to.errors"
  status=$?
  cat "$to.errors" >> "$log"
  if [ $status -eq 0 ]; then
    tail -n 1 "$to.part" > "$to.json"
    rm -f "$to.failed"
    note "$name: $(cat "$to.json")"
  else
    [ $status -ne 124 ] || echo "failed: no end after $seconds s" >> "$to.errors"
    tail -n 1 "$to.errors" > "$to.failed"
    note "$name: status $status: $(cat "$to.failed")"
  fi
  note "$name: after: $(state)"
  rm -f "$to.part" "$to.errors"
  return $status
}

failed=0 waiting=0
card=$(nvidia-smi --query-gpu=name,driver_version,power.limit --format=csv,noheader 2> /dev/null) ||
  card='no nvidia-smi'
echo "$card" > "$out/card.txt"
note "begin: $(uname -n), $card, prepared: $(tr -d '\n' < "$folder/prepared.json")"
mapfile -t names < <("$python" "$here/pieces.py" list "$folder" "$out" ${list[@]+"${list[@]}"})
for line in ${names[@]+"${names[@]}"}; do
  if [ $SECONDS -ge $end ]; then
    waiting=$((waiting + 1))
    continue
  fi
  read -r name which <<< "$line"
  [ "$which" = peers ] && interpreter=$peers || interpreter=$python
  piece "$name" "$interpreter" || failed=1
done
rm -rf "$out/scratch"
"$python" "$here/table.py" "$folder" "$out" | tee "$out/table.md"
note "end: $waiting pieces wait$([ $waiting -eq 0 ] || echo ', run the same command again'), status $failed"
exit $failed
