#!/usr/bin/env bash
# The suite on every stack in which programs of ours stand beside real neighbours.
#
#   ci/mixes.sh          the walkthrough, and the folders of the hops on which the swapped programs stand: of the engine's and
#                        the runtime's what starts a container, since the rest never reaches a neighbour
#   ci/mixes.sh full     everything on each of them
#
# Fails at the end when any of them failed; PYTHON and WORKERS as in the Makefile, further words go to pytest.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
workers=${WORKERS:-2}
full=
if [ "${1:-}" = full ]; then full=1; shift; fi

failed=()
mix() { # TARGET MARKERS
  local started=$SECONDS select=(-m "$2") what=$2
  if [ -n "$full" ]; then select=() what=everything; fi
  printf '\n== %s: %s\n' "$1" "$what"
  "$python" -m pytest conformance/ -q --target "$1" -n "$workers" "${select[@]}" "${@:3}" || failed+=("$1")
  printf '== %s took %s s\n' "$1" "$((SECONDS - started))"
}

mix upstream,runc=reference "walkthrough or ((runtime or process) and starts)" "$@"
mix upstream,shim=reference "walkthrough or shim" "$@"
mix upstream,shim=reference,runc=reference "walkthrough or shim" "$@"
mix upstream,containerd=reference "walkthrough or containerd" "$@"
mix upstream,containerd=reference,shim=reference,runc=reference "walkthrough or containerd or shim" "$@"
mix upstream,dockerd=reference "walkthrough or (engine and starts)" "$@"
mix upstream,registry=reference "walkthrough or registry" "$@"
mix upstream,docker=reference "walkthrough" "$@"
mix reference,shim=upstream "walkthrough or shim" "$@"
mix reference,runc=upstream "walkthrough or process" "$@"
mix reference,containerd=upstream "walkthrough or containerd" "$@"
mix reference,registry=upstream "walkthrough or registry" "$@"

if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
