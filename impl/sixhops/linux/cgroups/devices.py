"""The device controller: rules into devices.allow/deny of version 1, or into a BPF program for version 2."""

# Imported when needed: the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

from sixhops.linux.cgroups.control import write

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import DeviceRule

__all__ = ["apply_rules", "plan_version1", "rule_text"]


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
        for name, text in plan_version1(rules):
            write(f"{directory}/{name}", text)
    elif set(groups) == {""}:
        from sixhops.linux.cgroups.devices_bpf import attach, compile_rules

        attach(groups[""], compile_rules(rules))


def plan_version1(rules: tuple[DeviceRule, ...]) -> list[tuple[str, str]]:
    """Return the writes (control file, text) whose result is that of the rules, in a fixed order. Pure.

    The rules up to the last one about all devices are what that one says. Behind a refusal of everything, the allowed
    ones are summed up and sorted, as the kernel would sum them up: a later rule about exactly the same devices adds
    to or takes from the access, one about others takes nothing away. Behind a permission of everything it is the reverse.
    """
    general, special = None, rules
    for position, rule in enumerate(rules):
        if (rule.type or "a") == "a":
            general, special = rule, rules[position + 1 :]
    if general is None:
        return [(f"devices.{'allow' if rule.allow else 'deny'}", rule_text(rule)) for rule in rules]
    exceptions: dict[tuple[str, int, int], str] = {}
    for rule in special:
        key = (rule.type, -1 if rule.major is None else rule.major, -1 if rule.minor is None else rule.minor)
        access = rule.access or "rwm"
        old = exceptions.get(key, "")
        if rule.allow == general.allow:
            left = "".join(letter for letter in old if letter not in access)
        else:
            left = "".join(letter for letter in "rwm" if letter in old + access)
        exceptions[key] = left
    here, other = ("devices.allow", "devices.deny") if general.allow else ("devices.deny", "devices.allow")
    plan = [(here, "a")]
    for (kind, major, minor), access in sorted(exceptions.items()):
        if access:
            plan.append(
                (other, f"{kind} {'*' if major < 0 else major}:{'*' if minor < 0 else minor} {access}")
            )
    return plan
