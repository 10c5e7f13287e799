"""What `changes` of a commit or an import do to an image's configuration, instruction by instruction.

As dockerd 20.10 has them: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, USER, VOLUME and WORKDIR may stand
there, and nothing else. The messages are the engine's.
"""

from __future__ import annotations

import copy
import ipaddress
import posixpath
import re
from typing import TYPE_CHECKING, Any, Final

from sixhops.dockerd.errors import invalid
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.images.configuration import instructions
from sixhops.dockerd.images.configuration.instructions import Instruction, InstructionError
from sixhops.dockerd.images.configuration.words import WordError, expand, expand_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["apply"]

_SHELL: Final = ("/bin/sh", "-c")
_HIGHEST_PORT: Final = 65535
_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})
_HEALTH_FLAGS: Final = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|[+-]?0")
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_SHORTEST: Final = 10**6


def apply(config: dict[str, Any], lines: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `config` (members as in an image's `config`) with the changes made. Raises EngineError 400."""
    if not lines:
        return config
    try:
        found = instructions.parse("\n".join(lines))
        for instruction in found:
            if instruction.name not in _COMMANDS:
                raise InstructionError(f"{instruction.name} is not a valid change command")
        checked = [(_COMMANDS[entry.name][1], _checked(entry)) for entry in found]
        changed = copy.deepcopy(config)
        state = _State(changed)
        for act, instruction in checked:
            act(state, instruction)
    except (InstructionError, WordError) as error:
        raise invalid(str(error)) from error
    return changed


class _State:
    """A configuration that is being changed; `cmd_set`: a CMD came before, which an ENTRYPOINT then leaves."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.cmd_set = False

    @property
    def environment(self) -> dict[str, str]:
        """The variables that words may use; of a name that stands twice the first counts."""
        found: dict[str, str] = {}
        for entry in self.config.get("Env") or []:
            name, _, value = entry.partition("=")
            found.setdefault(name, value)
        return found

    def expand(self, word: str, instruction: Instruction) -> str:
        """Return a word with its variables replaced."""
        return expand(word, self.environment, instruction.escape)


def _checked(instruction: Instruction) -> Instruction:
    """Refuse flags, and what an instruction can't do without, before anything is changed."""
    if instruction.name != "healthcheck":
        for flag in instruction.flags:
            raise InstructionError(f"Unknown flag: {flag[2:].partition('=')[0]}")
    _COMMANDS[instruction.name][0](instruction)
    return instruction


def _at_least_one(instruction: Instruction) -> None:
    if not instruction.arguments:
        raise InstructionError(f"{instruction.name.upper()} requires at least one argument")


def _exactly_one(instruction: Instruction) -> None:
    if len(instruction.arguments) != 1:
        raise InstructionError(f"{instruction.name.upper()} requires exactly one argument")


def _named_pairs(instruction: Instruction) -> None:
    _at_least_one(instruction)
    if not all(instruction.arguments[::2]):
        raise InstructionError(f"{instruction.name.upper()} names can not be blank")


def _volumes(instruction: Instruction) -> None:
    _at_least_one(instruction)
    if not all(argument.strip() for argument in instruction.arguments):
        raise InstructionError("VOLUME specified can not be an empty string")


def _trigger(instruction: Instruction) -> None:
    _at_least_one(instruction)
    name = instruction.arguments[0].split()[0].upper()
    if name == "ONBUILD":
        raise InstructionError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if name in {"MAINTAINER", "FROM"}:
        raise InstructionError(f"{name} isn't allowed as an ONBUILD trigger")


def _anything(instruction: Instruction) -> None:
    """CMD and ENTRYPOINT may be empty."""


def _health(instruction: Instruction) -> None:
    _at_least_one(instruction)
    _health_of(instruction)


def _command_line(instruction: Instruction, config: dict[str, Any]) -> list[str]:
    words = list(instruction.arguments)
    return words if instruction.is_json else [*(config.get("Shell") or _SHELL), *words]


def _set_cmd(state: _State, instruction: Instruction) -> None:
    state.config["Cmd"] = _command_line(instruction, state.config)
    state.cmd_set = state.cmd_set or bool(instruction.arguments)


def _set_entrypoint(state: _State, instruction: Instruction) -> None:
    state.config["Entrypoint"] = _command_line(instruction, state.config) if instruction.arguments else None
    if not state.cmd_set:
        state.config["Cmd"] = None


def _set_env(state: _State, instruction: Instruction) -> None:
    words = [state.expand(word, instruction) for word in instruction.arguments]
    entries = list(state.config.get("Env") or [])
    for name, value in zip(words[::2], words[1::2], strict=True):
        entry = f"{name}={value}"
        for number, old in enumerate(entries):
            if old.partition("=")[0] == name:
                entries[number] = entry
                break
        else:
            entries.append(entry)
    state.config["Env"] = entries


def _set_labels(state: _State, instruction: Instruction) -> None:
    words = [state.expand(word, instruction) for word in instruction.arguments]
    labels = dict(zip(words[::2], words[1::2], strict=True))
    state.config["Labels"] = (state.config.get("Labels") or {}) | labels


def _set_ports(state: _State, instruction: Instruction) -> None:
    ports = dict(state.config.get("ExposedPorts") or {})
    for argument in sorted(instruction.arguments):
        for word in expand_words(argument, state.environment, instruction.escape):
            ports |= {key: {} for key in _ports(word)}
    state.config["ExposedPorts"] = ports


def _set_health(state: _State, instruction: Instruction) -> None:
    state.config["Healthcheck"] = _health_of(instruction)


def _add_trigger(state: _State, instruction: Instruction) -> None:
    trigger = re.sub(r"(?i)^\s*ONBUILD\s*", "", instruction.original)
    state.config["OnBuild"] = [*(state.config.get("OnBuild") or []), trigger]


def _set_user(state: _State, instruction: Instruction) -> None:
    state.config["User"] = state.expand(instruction.arguments[0], instruction)


def _add_volumes(state: _State, instruction: Instruction) -> None:
    volumes = dict(state.config.get("Volumes") or {})
    for word in instruction.arguments:
        volume = state.expand(word.strip(), instruction)
        if not volume:
            raise InstructionError("VOLUME specified can not be an empty string")
        volumes[volume] = {}
    state.config["Volumes"] = volumes


def _set_directory(state: _State, instruction: Instruction) -> None:
    wanted = state.expand(instruction.arguments[0], instruction)
    if not wanted:
        raise InstructionError("cannot normalize nothing")
    current = state.config.get("WorkingDir") or ""
    state.config["WorkingDir"] = (
        wanted if wanted.startswith("/") else posixpath.normpath(f"/{current}/{wanted}").replace("//", "/")
    )


#: What each instruction needs, and what it does.
_COMMANDS: Final[dict[str, tuple[Callable[[Instruction], None], Callable[[_State, Instruction], None]]]] = {
    "cmd": (_anything, _set_cmd),
    "entrypoint": (_anything, _set_entrypoint),
    "env": (_named_pairs, _set_env),
    "expose": (_at_least_one, _set_ports),
    "healthcheck": (_health, _set_health),
    "label": (_named_pairs, _set_labels),
    "onbuild": (_trigger, _add_trigger),
    "user": (_exactly_one, _set_user),
    "volume": (_volumes, _add_volumes),
    "workdir": (_exactly_one, _set_directory),
}


def _health_of(instruction: Instruction) -> dict[str, Any]:
    kind, *arguments = instruction.arguments
    kind = kind.upper()
    if kind == "NONE":
        if arguments:
            raise InstructionError("HEALTHCHECK NONE takes no arguments")
        return {"Test": [kind]}
    flags = _health_flags(instruction.flags)
    if kind != "CMD":
        raise InstructionError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    if not arguments:
        raise InstructionError("Missing command after HEALTHCHECK CMD")
    found: dict[str, Any] = {"Test": [kind if instruction.is_json else "CMD-SHELL", *arguments]}
    for name, member in _HEALTH_FLAGS.items():
        if flags.get(name):
            found[member] = _duration(name, flags[name])
    if flags.get("retries"):
        found["Retries"] = _retries(flags["retries"])
    return found


def _health_flags(flags: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for flag in flags:
        name, equals, value = flag[2:].partition("=")
        if name not in {*_HEALTH_FLAGS, "retries"}:
            raise InstructionError(f"Unknown flag: {name}")
        if name in found:
            raise InstructionError(f"Duplicate flag specified: {name}")
        if not equals:
            raise InstructionError(f"Missing a value on flag: {name}")
        found[name] = value
    return found


def _duration(name: str, text: str) -> int:
    if not _DURATION.fullmatch(text):
        raise InstructionError(f"time: invalid duration {quote(text)}")
    total = sum(round(float(number) * _UNITS[unit]) for number, unit in _TERM.findall(text))
    total = -total if text.startswith("-") else total
    if total < _SHORTEST:
        raise InstructionError(f'Interval "{name}" cannot be less than 1ms')
    return total


def _retries(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise InstructionError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if int(text) < 1:
        raise InstructionError(f"--retries must be at least 1 (not {int(text)})")
    return int(text)


def _ports(text: str) -> list[str]:
    """Return the ports of `[[ip:][host]:]container[/protocol]`, each as `80/tcp`."""
    address, host, container = _parts(text)
    container, slash, protocol = container.partition("/")
    protocol = protocol if slash and protocol else "tcp"
    if address:
        try:
            ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise InstructionError(f"Invalid ip address: {address}") from None
    if not container:
        raise InstructionError(f"No port specified: {text}<empty>")
    ports = _range(container)
    if ports is None:
        raise InstructionError(f"Invalid containerPort: {container}")
    if host:
        hosts = _range(host)
        if hosts is None:
            raise InstructionError(f"Invalid hostPort: {host}")
        if len(hosts) != len(ports) and len(ports) != 1:
            raise InstructionError(
                f"Invalid ranges specified for container and host Ports: {container} and {host}"
            )
    if protocol.lower() not in _PROTOCOLS:
        raise InstructionError(f"Invalid proto: {protocol}")
    return [f"{port}/{protocol.lower()}" for port in ports]


def _parts(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _range(text: str) -> range | None:
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        return None
    low, high = int(numbers[0]), int(numbers[1])
    return range(low, high + 1) if low <= high <= _HIGHEST_PORT else None
