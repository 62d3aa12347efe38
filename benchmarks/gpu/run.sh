#!/usr/bin/env bash
# Checks and times prebuilt programs on the GPU of this machine: bash, Python with NumPy, and the programs are all it needs.
#
# run.sh FOLDER [--out FOLDER] [--driver FILE] [--minutes N] [--seconds N] [--repeats N] [--python PYTHON]
#        [--only NAME]
#     FOLDER holds one folder a case, as prepare.py makes them: program, program.weights, ids.npy, case.json, and what
#     the results are compared with. A wrong result keeps a case from being timed; a slow one never does.
#
# The work is cut into pieces of one process each. Every piece leaves a file in --out (default FOLDER/results), and one
# that is there is not repeated: after --minutes (default 4) no further piece is begun, and the same command goes on
# later. --seconds bounds a piece (default 200); --repeats is that of the programs' --bench. --driver FILE takes another
# CUDA driver, for rehearsals.
set -u

die() { echo "run.sh: $*" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
folder= out= driver=() repeats=() minutes=4 seconds=200 python=python3 only=
while [ $# -gt 0 ]; do
  case $1 in
    --out | --driver | --minutes | --seconds | --repeats | --python | --only) [ $# -gt 1 ] || die "$1 needs a value" ;;&
    --out) out=$2; shift ;;
    --driver) driver=(--driver "$2"); shift ;;
    --minutes) minutes=$2; shift ;;
    --seconds) seconds=$2; shift ;;
    --repeats) repeats=(--repeats "$2"); shift ;;
    --python) python=$2; shift ;;
    --only) only=$2; shift ;;
    -*) die "unknown option '$1'; the head of this file lists them" ;;
    *) [ -z "$folder" ] || die "one folder, got '$folder' and '$1'"; folder=$1 ;;
  esac
  shift
done
[ -d "$folder" ] || die "expected a folder of prepared cases, got '$folder'"
out=${out:-$folder/results}
mkdir -p "$out" || exit 1
log=$out/log.txt
end=$((SECONDS + minutes * 60))

note() { echo "$(date -u +%FT%TZ) $*" | tee -a "$log"; }

# Samples clocks and power while a command runs, where the machine can tell them.
with_clocks() {
  local samples=$1 sampler= status
  shift
  if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active \
      --format=csv,noheader,nounits -lms 200 > "$samples" 2> /dev/null &
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

# One run of a case's program: its output to FILE, its errors to the log.
program() {
  local to=$1 case=$2 status
  shift 2
  with_clocks "${to%.*}.clocks" "$folder/$case/program" ${driver[@]+"${driver[@]}"} "$@" > "$to.part" 2>> "$log"
  status=$?
  if [ $status -ne 0 ]; then
    note "$case: status $status from: program ${driver[*]-} $*"
    rm -f "$to.part"
    return 1
  fi
  mv "$to.part" "$to"
}

# Whether a piece is still to be done; counts those that have to wait.
waiting=0
due() {
  [ ! -e "$1" ] || return 1
  [ $SECONDS -lt $end ] && return 0
  waiting=$((waiting + 1))
  return 1
}

# Results against the reference, and decoding against one pass over the same tokens.
check_case() {
  local case=$1 steps=$2 base=$out/$1
  due "$base.check" || return 0
  local data=$folder/$case
  program "$base.done" "$case" --tokens "$data/ids.npy" --logits "$base.logits.npy" || return 1
  program "$base.ids" "$case" --tokens "$data/ids.npy" --generate "$steps" || return 1
  "$python" "$here/pieces.py" extend "$data" "$base" || return 1
  program "$base.done" "$case" --tokens "$base.longer.npy" --logits "$base.longer-logits.npy" || return 1
  "$python" "$here/pieces.py" check "$data" "$base" > "$base.check.part" 2>> "$log" || {
    note "$case: WRONG RESULT, not timed; $(tail -n 1 "$base.check.part")"
    mv "$base.check.part" "$base.wrong"
    return 1
  }
  mv "$base.check.part" "$base.check"
  rm -f "$base".*.npy "$base.done"
  note "$case: $(cat "$base.check")"
}

failed=0
note "begin: $(uname -n), $(nvidia-smi --query-gpu=name,driver_version,power.limit --format=csv,noheader 2> /dev/null || echo 'no nvidia-smi')"
for path in "$folder"/*/case.json; do
  [ -e "$path" ] || die "no */case.json in '$folder'"
  case=$(basename "$(dirname "$path")")
  [ -z "$only" ] || [ "$only" = "$case" ] || continue
  steps=$("$python" "$here/pieces.py" decode "$folder/$case") || die "cannot read '$path'"
  check_case "$case" "$steps" || { failed=1; continue; }
  [ -e "$out/$case.check" ] || continue
  for tokens in $("$python" "$here/pieces.py" prefill "$folder/$case"); do
    due "$out/$case.$tokens.json" || continue
    "$python" "$here/pieces.py" cut "$folder/$case" "$tokens" "$out/$case.$tokens.npy" || { failed=1; continue; }
    program "$out/$case.$tokens.json" "$case" --tokens "$out/$case.$tokens.npy" --generate "$steps" --bench \
      ${repeats[@]+"${repeats[@]}"} || failed=1
    rm -f "$out/$case.$tokens.npy"
  done
  if due "$out/$case.profile"; then
    note "$case: the time of each kernel over the prompt and one token:"
    program "$out/$case.profile" "$case" --tokens "$folder/$case/ids.npy" --generate 2 --profile || failed=1
  fi
done
"$python" "$here/pieces.py" table "$folder" "$out" | tee "$out/table.md"
note "end: $waiting pieces wait$([ $waiting -eq 0 ] || echo ', run the same command again'), status $failed"
exit $failed
