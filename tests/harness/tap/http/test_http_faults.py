"""Fault rules in the recording proxy: what a client gets, and what the message says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tapped_http import GET, OK, Handler, Proxy, answering, read_exactly, read_head

from sixhops.harness.errors import InternalError, Mark
from sixhops.harness.scenario.model import FaultRule, Template

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


MARK = Mark("scenario.yaml", 1, 1)


def rule(**action: object) -> FaultRule:
    return FaultRule("GET", "/v2/*/blobs/*", MARK, **action)  # type: ignore[arg-type]


BLOB = b"GET /v2/a/b/blobs/sha256:1?x=y HTTP/1.1\r\n\r\n"
TEN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"

FAULTS = [
    (rule(cut=4), TEN, TEN[:-6], "cut after 4 body bytes", False),
    (rule(cut=0), TEN, TEN[:-10], "cut after 0 body bytes", False),
    (rule(cut=5), CHUNKED, CHUNKED[: CHUNKED.index(b"56789")], "cut after 5 body bytes", False),
    (rule(cut=99), TEN, TEN, "cut after 99 body bytes", True),
    (rule(corrupt=3), TEN, TEN.replace(b"3", b"\xcc"), "corrupt body byte 3", True),
    (rule(corrupt=4), CHUNKED, CHUNKED.replace(b"45", b"\xcb5"), "corrupt body byte 4", True),
    (rule(delay=0.001), TEN, TEN, "delay of 0.001 s", True),
    (
        rule(digest="sha256:2"),
        b"HTTP/1.1 200 OK\r\ndocker-content-digest: sha256:1\r\nContent-Length: 1\r\n\r\n0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nDocker-Content-Digest: sha256:2\r\n\r\n0",
        "digest sha256:2 declared",
        True,
    ),
    (rule(length=99), TEN, TEN.replace(b"10\r", b"99\r"), "length 99 declared", True),
    (
        rule(length=3),
        CHUNKED,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n0123456789",
        "length 3 declared",
        True,
    ),
    (
        rule(status=503, headers={"Retry-After": 1}, body={"errors": []}),
        TEN,
        (
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json\r\n"
            b'Content-Length: 13\r\n\r\n{"errors":[]}'
        ),
        "status 503",
        True,
    ),
    (rule(status=204), TEN, b"HTTP/1.1 204 No Content\r\n\r\n", "status 204", True),
]


@pytest.mark.parametrize(
    ("fault", "answer", "seen", "name", "complete"),
    FAULTS,
    ids=[case[3] + str(n) for n, case in enumerate(FAULTS)],
)
def test_a_fault_changes_what_it_says_and_is_named_in_the_message(
    proxy: Callable[[Handler], Proxy], fault: FaultRule, answer: bytes, seen: bytes, name: str, complete: bool
) -> None:
    tapped = proxy(answering(answer))
    tapped.tap.set_faults([fault])

    assert tapped.talk(BLOB) == seen
    (message,) = tapped.messages()
    assert (message.fields["fault"], message.fields["complete"]) == (name, complete)


def test_a_status_fault_keeps_the_connection_and_the_order(proxy: Callable[[Handler], Proxy]) -> None:
    arrived: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        for _ in range(2):
            arrived.append(read_head(connection))
            connection.sendall(OK)

    tapped = proxy(handler)
    tapped.tap.set_faults([rule(status=404, body="no")])
    client = tapped.client()
    client.sendall(GET + BLOB + GET)

    assert read_exactly(client, len(OK)) == OK
    assert read_head(client) == b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n"
    assert read_exactly(client, 2) == b"no"
    assert read_exactly(client, len(OK)) == OK
    assert arrived == [GET, GET]


def test_a_fault_asks_for_something_else_instead(proxy: Callable[[Handler], Proxy]) -> None:
    def name_target(peer: socket.socket) -> None:
        target = read_head(peer).split(b" ")[1]
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))

    tapped = proxy(name_target)
    tapped.tap.set_faults([rule(instead="/v2/old/blobs/sha256:0")])

    assert tapped.talk(BLOB).endswith(b"\r\n\r\n/v2/old/blobs/sha256:0")
    (message,) = tapped.messages()
    assert message.fields["path"] == "/v2/a/b/blobs/sha256:1"
    assert message.fields["fault"] == "answer of /v2/old/blobs/sha256:0"


def test_an_answer_to_head_made_by_a_fault_has_no_body(proxy: Callable[[Handler], Proxy]) -> None:
    tapped = proxy(answering(OK))
    tapped.tap.set_faults([FaultRule("*", "/v2/*", MARK, status=429, body="slow down")])

    answer = tapped.talk(b"HEAD /v2/x HTTP/1.1\r\n\r\n")

    assert answer == b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 9\r\n\r\n"


def test_a_fault_asks_for_the_body_that_a_client_holds_back(proxy: Callable[[Handler], Proxy]) -> None:
    tapped = proxy(answering(OK))
    tapped.tap.set_faults([FaultRule("PUT", "*", MARK, status=500)])
    client = tapped.client()
    client.sendall(b"PUT /v2/x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert read_head(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"x")

    assert read_head(client).startswith(b"HTTP/1.1 500 ")


def statuses(tapped: Proxy, count: int) -> list[int]:
    return [int(tapped.talk(BLOB).split(b" ")[1]) for _ in range(count)]


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        ([rule(status=500, times=2)], [500, 500, 200, 200]),
        ([rule(status=500, times=1, after=2)], [200, 200, 500, 200]),
        ([rule(status=500, after=1)], [200, 500, 500, 500]),
        ([rule(status=503, times=1), rule(status=500, times=1)], [503, 500, 200, 200]),
        ([FaultRule("PUT", "*", MARK, status=500)], [200, 200, 200, 200]),
        ([FaultRule("GET", "/v2/*/manifests/*", MARK, status=500)], [200, 200, 200, 200]),
        ([FaultRule("GET", "*?x=y", MARK, status=500, times=1)], [500, 200, 200, 200]),
    ],
)
def test_rules_act_on_the_requests_that_they_count(
    proxy: Callable[[Handler], Proxy], rules: list[FaultRule], seen: list[int]
) -> None:
    tapped = proxy(answering(OK))
    tapped.tap.set_faults(rules)

    assert statuses(tapped, 4) == seen


def test_new_rules_replace_the_old_ones_and_their_counters(proxy: Callable[[Handler], Proxy]) -> None:
    tapped = proxy(answering(OK))
    tapped.tap.set_faults([rule(status=500, times=1)])
    assert statuses(tapped, 2) == [500, 200]

    tapped.tap.set_faults([rule(status=500, times=1)])
    assert statuses(tapped, 2) == [500, 200]
    tapped.tap.set_faults([])
    assert statuses(tapped, 1) == [200]


def test_a_rule_with_a_template_is_a_mistake_of_ours(proxy: Callable[[Handler], Proxy]) -> None:
    tapped = proxy(answering(OK))

    with pytest.raises(InternalError, match=r"scenario.yaml:1:1: the fault rule's path still is"):
        tapped.tap.set_faults([FaultRule("GET", Template("/${id}", MARK), MARK, status=500)])
