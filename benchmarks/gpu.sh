#!/usr/bin/env bash
# Measure on a lent GPU, in 8 minutes at most, and file the results; docs/results.py puts them into docs/memory.md:
#   bash benchmarks/gpu.sh [--tiny] [FILE]
# Each part has a process and a time of its own. One that fails or takes too long is noted, and the others go on.
# --tiny measures tiny sizes on the CPU, and may take longer. PEAK is the GPU's TFLOPS in bfloat16 (989: H100, H200).
set -uo pipefail
cd "$(dirname "$0")/.."
options=(--peak "${PEAK:-989}")
patience=1
if [ "${1:-}" = --tiny ]; then
  options+=(--tiny)
  patience=10
  shift
fi
out=${1:-docs/results/gpu.json}
failed=0

measure() {
  local seconds=$(($2 * patience)) began=$SECONDS
  echo "$(date +%T) $1, at most $seconds s" >&2
  timeout --kill-after 4 "$seconds" python benchmarks/gpu.py "$1" --out "$out" "${options[@]}"
  local code=$?
  # one that does not end when it is asked to is killed, which looks like a lack of memory
  if [ "$code" -eq 137 ] && [ $((SECONDS - began)) -ge "$seconds" ]; then
    code=124
  fi
  if [ "$code" -ne 0 ]; then
    failed=$((failed + 1))
    python benchmarks/gpu.py "$1" --out "$out" --failed "$code"
  fi
}

measure step 140
measure compiled 140
measure lists 80
measure fsdp2 50
measure masks 40
echo "$(date +%T) $failed of 5 parts failed; $out" >&2
[ "$failed" -eq 0 ]
