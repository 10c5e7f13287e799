"""`--version` and `features`: what this runtime is and can do, told from the tables that it works with."""

# Contextlib is one more import.
# ruff: noqa: SIM105

from __future__ import annotations

import json

from sixhops.linux import capabilities, namespaces, seccomp
from sixhops.runc.inside.mount_options import FLAGS, PROPAGATION, RECURSIVE
from sixhops.runc.lifecycle.state import SPECIFICATION

__all__ = ["VERSION", "features_text", "version_text"]

# The runc whose command line, messages and behaviour this runtime has; engines read the number.
VERSION = "1.1.5+sixhops"


def version_text() -> str:
    """Return the lines that engines parse: version, commit, spec, libseccomp."""
    lines = [f"runc version {VERSION}", f"commit: {VERSION}", f"spec: {SPECIFICATION}"]
    try:
        lines.append(f"libseccomp: {seccomp.library_version()}")
    except seccomp.LibraryMissingError:
        pass  # then there is no such line, as with a runc that was built without it
    return "".join(f"{line}\n" for line in lines)


def features_text() -> str:
    """Return the runtime specification's features document (features.md)."""
    options = {*FLAGS, *PROPAGATION, *RECURSIVE, "tmpcopyup", "idmap", "ridmap"}
    try:
        library = seccomp.library_version()
    except seccomp.LibraryMissingError:
        library = ""
    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPECIFICATION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": sorted(options),
        "linux": {
            "namespaces": sorted(namespaces.FLAGS),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
            "seccomp": {
                "enabled": bool(library),
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(seccomp.OPERATORS),
                "archs": sorted(seccomp.ARCHITECTURES),
                "knownFlags": sorted(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
        },
        "annotations": {
            "io.github.seccomp.libseccomp.version": library,
            "org.opencontainers.runc.checkpoint.enabled": "true",
            "org.opencontainers.runc.version": VERSION,
        },
    }
    return json.dumps(document, indent=4) + "\n"
