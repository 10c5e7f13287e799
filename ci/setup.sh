#!/usr/bin/env bash
# Make this checkout ready to run: Debian packages that are missing, and a virtual environment in .venv.
#
#   ci/setup.sh            what the suite and the reference implementation need
#   ci/setup.sh upstream   the same, and real programs to compare with: docker.io, docker-registry, skopeo, sshd;
#                          and a browser, in which the report is looked at
#
# A second run finds everything in place and takes a moment.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(python3-venv gcc libc6-dev busybox-static iptables iproute2 procps libseccomp2 openssh-client)
if [ "${1:-}" = upstream ]; then packages+=(docker.io docker-registry skopeo openssl openssh-server curl chromium chromium-driver); fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "setup: these Debian packages are missing, and only root can install them: ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# The stamp holds what the environment was made from, so a changed pyproject.toml or protocol is noticed.
stamp=.venv/.made-from
wanted=$(cat pyproject.toml hatch_build.py impl/sixhops/wire/proto/*.proto | sha256sum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  echo "setup: making .venv"
  python=$(command -v python3)
  "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
  echo "$wanted" > "$stamp"
fi
