"""A transcript with everything that must vary taken out: `normalise`. Pure; docs/diff.md lists the rules with reasons.

Texts are the business of `tokens`; here are the rules that go by the place of a value: its key, its facet, its kind of
message.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.diff.decoded import (
    accept_key,
    base64_json,
    body_value,
    sorted_words,
    without_boundary,
    without_strangers,
    without_tls,
)
from sixhops.harness.diff.known import daemon_groups, image_ids, tokens_for, what_was_asked
from sixhops.harness.diff.model import Normal, NormalMessage, NormalStep
from sixhops.harness.diff.order import strand_of
from sixhops.harness.diff.streams import facets_of, is_settled
from sixhops.harness.diff.tokens import parsed_time, token
from sixhops.harness.scenario.model import Hop
from sixhops.harness.show.calls import sent_line

if TYPE_CHECKING:
    from sixhops.harness.diff.tokens import Tokens
    from sixhops.harness.exchange import Exchange, HopMessage
    from sixhops.harness.run.transcript import Transcript

__all__ = ["normalise"]

_PID_KEYS: Final = frozenset(
    {"pid", "Pid", "ppid", "pgid", "sid", "nspid", "children", "exec_pid", "shim_pid", "task_pid"}
)
_PORT_KEYS: Final = frozenset({"HostPort", "PublicPort"})
#: Ports that the kernel gives out (net.ipv4.ip_local_port_range).
_EPHEMERAL: Final = range(32768, 61000)
#: What a program does at the moment of the look; Z, T and X say something else.
_ALIVE: Final = frozenset({"R", "S", "D"})
_EXPIRES: Final = "containerd.io/gc.expire"
_MOUNT: Final = re.compile(r"(\d+) (\d+) (\d+):(\d+) (.*)")
_PEERS: Final = re.compile(r"\b(master|shared|propagate_from):(\d+)")
#: Fields of messages that say how something was carried or seen, not what was said.
_CARRIAGE: Final = frozenset({"client", "duration", "request_length", "response_length"})
#: Calls that end one way or the other: a shim that is told to end does so before or after it has answered; a client that
#: has all bytes of a blob cancels the call, which the server may have ended already.
_EITHER_WAY: Final = {
    f"{call} -> {outcome}": f"{call} -> {token('end')}"
    for call, outcomes in {"Shutdown": ("OK", "no answer"), "Content/Read": ("OK", "CANCELLED")}.items()
    for outcome in outcomes
}
_OUTCOME: Final = frozenset(
    {"complete", "status", "code", "message", "error", "cancelled", "trailers", "response_metadata"}
)


def normalise(transcript: Transcript) -> Normal:
    """Return what a scenario's run did, in a form in which two good runs are equal. Changes nothing in `transcript`."""
    asked, groups = what_was_asked(transcript), daemon_groups(transcript)
    target = str(transcript.header["target"]["name"])
    work = _Work(tokens_for(transcript), image_ids(transcript), asked, groups, target)
    hops = transcript.header["target"]["hops"]
    steps = sorted(transcript.by_step(), key=lambda pair: pair[0].step)
    return Normal(
        scenario=transcript.scenario,
        verdict=str(transcript.outcome.get("verdict", "broken off")),
        steps=tuple(work.step(exchange, messages) for exchange, messages in steps),
        unseen={hop: reason for hop, reason in hops.items() if reason is not None},
    )


class _Work:
    """One transcript's normalisation: the numbers of its tokens."""

    def __init__(
        self, tokens: Tokens, images: frozenset[str], asked: str, groups: dict[str, str], target: str
    ) -> None:
        self._tokens = tokens
        self._images = images
        self._asked = asked
        self._groups = groups
        self._hosts = ("docker", target.partition("://")[2] or target)

    def step(self, exchange: Exchange, messages: list[HopMessage]) -> NormalStep:
        sent = _sent(exchange.sent)
        headers = sent.get("headers")
        if isinstance(headers, dict) and headers.get("Host") in self._hosts:
            headers["Host"] = token("the engine's address")
        facets = {"sent": self.value(sent), **self._facets(exchange, sent)}
        if exchange.error is not None:
            facets["error"] = self._tokens.text(exchange.error)
        return NormalStep(
            step=exchange.step,
            name=exchange.name,
            kind=exchange.kind,
            hop=_hop_of(exchange),
            line=self._tokens.text(sent_line(exchange)),
            facets=facets,
            messages=tuple(self._message(message) for message in messages),
            attempts=exchange.attempts,
            started=exchange.started,
            ended=exchange.ended,
            settled=is_settled(exchange),
        )

    def _facets(self, exchange: Exchange, sent: dict[str, Any]) -> dict[str, Any]:
        facets = facets_of(exchange)
        facets = without_boundary(facets)
        if "body" in facets:
            facets["body"] = body_value(facets["body"])
        if isinstance(facets.get("headers"), dict):
            facets["headers"] = _headers(facets["headers"], sent.get("headers", {}))
        if isinstance(facets.get("processes"), list):
            # The order of a process table is that of pids.
            rows = [self.value(row) for row in facets.pop("processes")]
            return {**self.value(facets), "processes": sorted(rows, key=_row_key)}
        if exchange.kind == "runc" and "ps" in sent.get("argv", ()) and isinstance(facets.get("json"), list):
            facets["json"] = [self._number(item, "pid") for item in facets["json"]]
        if exchange.kind == "file":
            facets = self._file(str(exchange.sent.get("path", "")), facets)
        return {name: self.value(value, name) for name, value in facets.items()}

    def _file(self, path: str, facets: dict[str, Any]) -> dict[str, Any]:
        """Return what a file says, with mount tables and pid files read as such."""
        if path.endswith("mountinfo") and isinstance(facets.get("text"), str):
            return {**facets, "text": [self._mount(line) for line in facets["text"].splitlines()]}
        if path.endswith(("/pid", ".pid")) and isinstance(facets.get("json"), int):
            return {**facets, "json": self._number(facets["json"], "pid"), "size": token("size")}
        return facets

    def _message(self, message: HopMessage) -> NormalMessage:
        summary = self._tokens.text(message.summary)
        fields = {
            name: self.value(value, name)
            for name, value in _decoded(message.fields).items()
            if name not in _CARRIAGE
        }
        if "deadline" in fields:
            # What is left of a deadline when the call begins differs by microseconds.
            fields["deadline"] = token("deadline")
        if summary in _EITHER_WAY:
            fields = {key: item for key, item in fields.items() if key not in _OUTCOME}
            if summary.startswith("Shutdown"):
                fields.pop("response", None)
            summary = _EITHER_WAY[summary]
        return NormalMessage(
            hop=message.hop,
            summary=summary,
            fields=fields,
            started=message.started,
            ended=message.ended,
            strand=strand_of(message.hop, summary, fields),
        )

    def value(self, value: Any, key: str = "") -> Any:
        """Return a value with tokens; `key` is the name under which it stands."""
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, list):
            if value[:1] == ["libnetwork-setkey"] and len(value) == 4:
                # The hook that dockerd calls itself by; the last word names its network controller.
                return [*map(self._tokens.text, value[:3]), self._tokens.number("controller", str(value[3]))]
            if key == "mountinfo":
                return [self._mount(item) for item in value]
            if key == "nspid":
                # those of the namespaces inside are other processes' numbers outside
                return [
                    self._tokens.number("inner " * depth + "pid", str(item)) if item > 1 else item
                    for depth, item in enumerate(value)
                ]
            if value:
                value = without_strangers(value, self._images, self._asked)
            return [self.value(item, key) for item in value]
        if isinstance(value, str):
            if key.lower() == "sec-websocket-key":
                return token("key")
            if key == "state" and value in _ALIVE:
                return "".join(sorted(_ALIVE))
            if key in _PORT_KEYS and value.isdecimal() and int(value) in _EPHEMERAL:
                return self._tokens.number("port", value)
            return self._tokens.text(value)
        if isinstance(value, bytes):
            return self._bytes(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number(value, key)
        return value

    def _mapping(self, value: dict[str, Any]) -> dict[str, Any]:
        found = {self._tokens.text(key): self.value(item, key) for key, item in value.items()}
        if {"NFd", "NGoroutines", "Images"} <= value.keys():
            # GET /info counts what the daemon holds open, and the images of all scenarios.
            found |= {name: token("count") for name in ("NFd", "NGoroutines", "Images")}
        if _EXPIRES in value:
            found[_EXPIRES] = self._expiry(value[_EXPIRES])
        if "jwk" in value:
            found["jwk"] = {name: token("key") for name in value["jwk"]}
        if {"protected", "signature"} <= value.keys():
            found["signature"] = token("signature")
            found["protected"] = self.value(base64_json(str(value["protected"])))
        if "Titles" in value and "Processes" in value:
            found["Processes"] = [self._listed(value["Titles"], row) for row in value["Processes"] or ()]
        if "ns" in value and isinstance(value["ns"], dict):
            found["ns"] = {name: self._tokens.namespace(inode) for name, inode in value["ns"].items()}
        if "start" in value and "ppid" in value:
            found["start"] = token("ticks")
            if isinstance(value.get("cgroup"), dict):
                found["cgroup"] = {name: self._group(name, path) for name, path in value["cgroup"].items()}
        if isinstance(value.get("threads"), int) and value["threads"] > 1:
            # A Go program has as many as it once needed.
            found["threads"] = token("several")
        return found

    def _group(self, controller: str, path: Any) -> Any:
        """Return a control group, that of the daemons as one that may be any: two runs may be started in two."""
        if path == self._groups.get(controller):
            return token("group of the daemons")
        return self.value(path)

    def _expiry(self, text: Any) -> Any:
        """Return when a lease ends: dockerd gives each a day (`WithExpiration` in its pull and create)."""
        day = timedelta(days=1)
        moment = parsed_time(text) if isinstance(text, str) else None
        return (
            token("time in a day") if moment is not None and self._tokens.period.has(moment - day) else text
        )

    def _listed(self, titles: list[str], row: list[str]) -> list[Any]:
        """Return a row of `ps`, as GET /containers/{id}/top has it."""
        return [
            self._number(int(item), "pid")
            if title in {"PID", "PPID"} and item.isdecimal()
            else token(title.lower())
            if title in {"STIME", "START", "TIME", "C", "TTY"} and title != "TTY"
            else self._tokens.text(item)
            for title, item in zip(titles, row, strict=False)
        ]

    def _number(self, value: float, key: str) -> Any:
        if key in _PID_KEYS and value > 1:
            return self._tokens.number("pid", str(value))
        if key in _PORT_KEYS and value in _EPHEMERAL:
            return self._tokens.number("port", str(value))
        unit = self._tokens.period.unit_of(value)
        return value if unit is None else token(f"time in {unit}")

    def _mount(self, line: Any) -> Any:
        """Return a line of mountinfo without the numbers that the kernel gives out (proc(5))."""
        found = _MOUNT.fullmatch(line) if isinstance(line, str) else None
        if found is None:
            return self.value(line)
        number, parent, major, minor, rest = found.groups()
        if major == "0":
            minor = self._tokens.number("device", minor)
        rest = _PEERS.sub(lambda part: f"{part[1]}:{self._tokens.number('peer group', part[2])}", rest)
        mount, above = (self._tokens.number("mount", item) for item in (number, parent))
        return f"{mount} {above} {major}:{minor} {self._tokens.text(rest)}"

    def _bytes(self, data: bytes) -> Any:
        try:
            return self._tokens.text(data.decode())
        except UnicodeDecodeError:
            return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"


def _hop_of(exchange: Exchange) -> str:
    if exchange.kind in {"registry"}:
        return Hop.REGISTRY
    if exchange.kind in {"processes", "file"}:
        return Hop.PROCESS
    if exchange.kind in {"grpc", "ttrpc", "runc", "bundle"}:
        return {"grpc": Hop.CONTAINERD, "ttrpc": Hop.SHIM}.get(exchange.kind, Hop.RUNTIME)
    return Hop.ENGINE


def _sent(sent: dict[str, Any]) -> dict[str, Any]:
    """Return what was sent: a JSON body as JSON, and nothing that only follows from it."""
    kept = {name: item for name, item in sent.items() if name != "body_length"}
    if kept.get("messages") or kept.get("message"):
        # How long a call's messages are follows from what they say, among it ids of any length.
        kept.pop("length", None)
    if isinstance(sent.get("headers"), dict):
        kept["headers"] = dict(sent["headers"])
        if kept["headers"].get("Content-Length") == str(sent.get("body_length", 0)):
            kept["headers"]["Content-Length"] = token("length of the body")
    environment = sent.get("env")
    if isinstance(environment, dict) and "PATH" in environment:
        # It is that of whoever runs the suite.
        kept["env"] = {**environment, "PATH": token("search path")}
    if isinstance(sent.get("select"), str):
        kept["select"] = _literal(sent["select"])
    if isinstance(sent.get("body"), bytes | str):
        kept["body"] = body_value(sent["body"])
        try:
            kept["body"] = json.loads(sent["body"])
        except ValueError:
            # Not JSON, or cut off: compared as it is.
            return kept
    return kept


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        # A matcher among the conditions is written as no literal; its numbers are pids.
        return re.sub(r"\b\d{2,}\b", token("number"), text)


def _headers(headers: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return headers with those decoded that carry something else; `asked` are the request's."""
    found = dict(headers)
    if isinstance(found.get("accept"), str):
        # Docker's Go code takes the media types out of a map, in no order.
        found["accept"] = sorted_words(found["accept"])
    if isinstance(found.get("x-docker-container-path-stat"), str):
        found["x-docker-container-path-stat"] = base64_json(found["x-docker-container-path-stat"])
    key = next((value for name, value in asked.items() if name.lower() == "sec-websocket-key"), None)
    if key is not None and found.get("sec-websocket-accept") == accept_key(str(key)):
        found["sec-websocket-accept"] = token("answer to the key")
    return found


def _decoded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an HTTP message's fields with each body once: as JSON, or as it is, or by its digest where it was cut."""
    kept = dict(fields)
    if isinstance(kept.get("error"), str):
        kept["error"] = without_tls(kept["error"])
    if "request_raw" in kept:
        kept["request_raw"] = body_value(kept["request_raw"])
    for side in ("request", "response", "upstream_stream"):
        body = f"{side}_body"
        if f"{side}_json" in kept or kept.get(f"{side}_truncated"):
            kept.pop(body, None)
        if not kept.get(f"{side}_truncated"):
            kept.pop(f"{side}_sha256", None)
        if body in kept:
            kept[body] = body_value(kept[body])
        headers = kept.get(f"{side}_headers")
        if isinstance(headers, dict):
            own = _own_length(headers, fields.get(f"{side}_length", 0))
            kept[f"{side}_headers"] = _headers(own, fields.get("request_headers", {}))
    return kept


def _own_length(headers: dict[str, Any], length: Any) -> dict[str, Any]:
    if headers.get("content-length") != str(length):
        return headers
    return {**headers, "content-length": token("length of the body")}


def _row_key(row: Any) -> str:
    kept = {name: item for name, item in row.items() if name in {"comm", "argv", "parent", "uid"}}
    return json.dumps(kept, sort_keys=True)
