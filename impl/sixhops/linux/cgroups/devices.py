"""The device controller: rules into devices.allow/deny of version 1, or into a BPF program for version 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.linux.cgroups.control import write

if TYPE_CHECKING:
    from sixhops.wire.runtime.document import DeviceRule

__all__ = ["apply_rules", "rule_text"]


def rule_text(rule: DeviceRule) -> str:
    """Return a rule in the form of devices.allow: `c 1:3 rwm`; `a` for everything."""
    kind = rule.type or "a"
    if kind == "a":
        return "a"
    major = "*" if rule.major is None or rule.major < 0 else str(rule.major)
    minor = "*" if rule.minor is None or rule.minor < 0 else str(rule.minor)
    return f"{kind} {major}:{minor} {rule.access or 'rwm'}"


def apply_rules(groups: dict[str, str], rules: tuple[DeviceRule, ...]) -> None:
    """Put the rules into force, later ones over earlier ones. Raises LinuxError; no rules change nothing."""
    if not rules:
        return
    directory = groups.get("devices")
    if directory is not None:
        for rule in rules:
            write(f"{directory}/devices.{'allow' if rule.allow else 'deny'}", rule_text(rule))
    elif set(groups) == {""}:
        from sixhops.linux.cgroups.devices_bpf import attach, compile_rules

        attach(groups[""], compile_rules(rules))
