#!/usr/bin/env bash
# The suite on every stack in which programs of ours stand beside real neighbours.
#
#   ci/mixes.sh          the walkthrough, and the folders of the hops on which the swapped programs stand: of the engine's and
#                        the runtime's what starts a container, since the rest never reaches a neighbour
#   ci/mixes.sh full     everything on each of them
#
# WORKERS stacks are run side by side, each by one process: so each reads the suite and starts its programs once. What one
# said is shown when it is through. Fails at the end when any of them failed; PYTHON and WORKERS as in the Makefile, further
# words go to pytest.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
workers=${WORKERS:-2}
full=
if [ "${1:-}" = full ]; then full=1; shift; fi

logs=$(mktemp -d)
declare -A running=() # a process to "TARGET MOMENT WHAT"
failed=()
ended() {
  if [ ${#running[@]} -gt 0 ]; then kill "${!running[@]}" 2>/dev/null; wait; fi
  rm -rf "$logs"
}
trap ended EXIT
trap 'exit 130' INT TERM

finish_one() { # await any of them, and show what it said
  local pid status=0 target started what
  wait -n -p pid || status=$?
  read -r target started what <<< "${running[$pid]}"
  unset "running[$pid]"
  printf '\n== %s: %s\n' "$target" "$what"
  cat "$logs/$pid"
  printf '== %s took %s s\n' "$target" "$((SECONDS - started))"
  if [ "$status" -ne 0 ]; then failed+=("$target"); fi
}

mix() { # TARGET MARKERS [WORDS...]
  local select=(-m "$2") what=$2
  if [ -n "$full" ]; then select=() what=everything; fi
  while [ ${#running[@]} -ge "$workers" ]; do finish_one; done
  # What a shell starts in the background ignores interrupts unless told otherwise.
  (exec >"$logs/$BASHPID" 2>&1 && exec env --default-signal=INT \
    "$python" -m pytest conformance/ -q --target "$1" "${select[@]}" "${@:3}") &
  running[$!]="$1 $SECONDS $what"
}

# The longest first, or the last one would run alone.
mix upstream,dockerd=reference "walkthrough or (engine and starts)" "$@"
mix upstream,runc=reference "walkthrough or ((runtime or process) and starts)" "$@"
mix upstream,containerd=reference,shim=reference,runc=reference "walkthrough or containerd or shim" "$@"
mix reference,containerd=upstream "walkthrough or containerd" "$@"
mix reference,registry=upstream "walkthrough or registry" "$@"
mix upstream,registry=reference "walkthrough or registry" "$@"
mix upstream,containerd=reference "walkthrough or containerd" "$@"
mix reference,runc=upstream "walkthrough or process" "$@"
mix upstream,shim=reference,runc=reference "walkthrough or shim" "$@"
mix reference,shim=upstream "walkthrough or shim" "$@"
mix upstream,shim=reference "walkthrough or shim" "$@"
mix upstream,docker=reference "walkthrough" "$@"
while [ ${#running[@]} -gt 0 ]; do finish_one; done

if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
