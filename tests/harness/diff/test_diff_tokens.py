"""What must vary becomes a token, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sixhops.harness.diff.tokens import Period, Tokens, is_token, split_tokens, token

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
MOMENT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
KNOWN = {
    "sha256:" + "a" * 64: "busybox.digest",
    "/var/lib/sixhops/0badcafe": "stack",
    "0badcafe": "stack id",
    "0badf00d": "unique",
}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(Period.around(MOMENT, MOMENT), KNOWN, [ID, OTHER])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at 2026-11-26T12:00:01.123456789Z", "at ⟨time⟩"),
        ("at 2026-11-26T12:00:01Z", "at ⟨time⟩"),
        ("2026-11-26T13:00:01.1+01:00", "⟨time with zone⟩"),
        ("2026-11-26 12:00:01.5 +0000 UTC", "⟨time with zone⟩"),
        ("Thu, 26 Nov 2026 12:00:01 GMT", "⟨date⟩"),
        ("since=1795694400", "since=⟨seconds⟩"),
        ("1795694400.123456789", "⟨seconds with fraction⟩"),
        (f"container {ID} is gone", "container ⟨id 1⟩ is gone"),
        (f"{ID}0", "⟨id 1⟩0"),
        (f"{ID[:12]} {OTHER}", "⟨short id 1⟩ ⟨id 2⟩"),
        ("busybox@sha256:" + "a" * 64, "busybox@⟨busybox.digest⟩"),
        ("/var/lib/sixhops/0badcafe/x", "⟨stack⟩/x"),
        ("/sixhops-0badcafe/y", "/sixhops-⟨stack id⟩/y"),
        ("172.17.0.2 02:42:ac:11:00:02", "⟨address 1⟩ ⟨mac of address 1⟩"),
        ("02:42:0a:00:00:01", "⟨mac 1⟩"),
        ("to 127.0.0.1:40123", "to 127.0.0.1:⟨port 1⟩"),
        ("vethab12cd3 up", "⟨veth 1⟩ up"),
        ("mnt:[4026532999]", "mnt:[⟨namespace 1⟩]"),
        ("Up 2 seconds", "Up ⟨a while⟩"),
        ("Exited (0) Less than a second ago", "Exited (0) ⟨a while⟩ ago"),
        ("/overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWX23,", "/overlay2/l/⟨overlay link 1⟩,"),
        ("a1b2c3d4-0000-1111-2222-abcdef012345", "⟨uuid 1⟩"),
        ("/x?_state=ab-_c%3D%3D", "/x?_state=⟨opaque state⟩"),
        ("/tmp/sixhops-ab12_x9z/f", "/tmp/⟨scratch directory⟩/f"),
        ("c-0badf00dx", "c-⟨unique⟩x"),
        ("/x/netns/0123456789ac", "/x/netns/⟨network sandbox 1⟩"),
        ("/proc/4242/exe /proc/1/ns", "/proc/⟨pid 1⟩/exe /proc/1/ns"),
        ("rw shared:3 - ext4 /dev/vda rw", "rw shared:⟨peer group 1⟩ - ext4 /dev/vda rw"),
        ("snapshot sixhops/4/one is not active", "snapshot sixhops/⟨count⟩/one is not active"),
        ("pipe:[4859792] socket:[12]", "pipe:[⟨inode 1⟩] socket:[⟨inode 2⟩]"),
        ("/overlayfs/snapshots/7/fs", "/overlayfs/snapshots/⟨snapshot 1⟩/fs"),
        ("lease 962651679-2kT0", "lease ⟨lease 1⟩"),
        ("6289-bjiH", "⟨lease 1⟩"),
        ("8080-8090", "8080-8090"),
        ("/tmp/runc-process12a /tmp/ptyx_9/pty.sock", "/tmp/runc-process⟨any⟩ /tmp/pty⟨any⟩/pty.sock"),
        (":".join(["ABCD"] * 12), "⟨fingerprint 1⟩"),
    ],
)
def test_what_varies_becomes_a_token(tokens: Tokens, text: str, expected: str) -> None:
    assert tokens.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z",  # docker's zero time
        "2020-01-01T00:00:00Z",  # the time in images from recipes
        "2026-11-20T12:00:00Z",  # long before the run
        "2026-11-26T12:30:00Z",  # after it
        "2026-13-99T99:99:99Z",
        "Wed, 01 Jan 2020 00:00:00 GMT",
        "1577836800",
        "1795694400x",
        "sha256:" + ID,  # a digest that is none of the scenario's images
        "0123456789ac",  # twelve digits that begin no id
        "deadbeef",
        "172.17.0.1",  # the bridge's own
        "172.15.0.2 10.0.0.2 8.8.8.8",
        "127.0.0.1:2375",
        "net:[4026531835]",  # the kernel's first
        "vethxyz",
        "/var/lib/sixhops/0badcafe0",
        "12-abcd 962651679-2kT00",
        "/proc/self/exe",
        "Exited (137)",
        "Up and away",
        "x0badcafex",
        ID + OTHER,  # a longer digest
    ],
)
def test_everything_else_stays(tokens: Tokens, text: str) -> None:
    assert tokens.text(text) == text


def test_a_number_is_that_of_the_value(tokens: Tokens) -> None:
    assert tokens.text(f"{ID} {OTHER} {ID}") == "⟨id 1⟩ ⟨id 2⟩ ⟨id 1⟩"


def test_numbers_are_split_off() -> None:
    assert split_tokens("a ⟨id 3⟩ ⟨time⟩ ⟨short id 4⟩") == (
        "a ⟨id⟩ ⟨time⟩ ⟨short id⟩",
        [("id", 3), ("short id", 4)],
    )


def test_a_token_is_known() -> None:
    assert is_token(token("id", 3))
    assert not is_token("x" + token("id"))
    assert not is_token(3)


@pytest.mark.parametrize(
    ("number", "unit"),
    [(1795694400, "s"), (1795694400123, "ms"), (1795694400123456789, "ns"), (1577836800, None), (0, None)],
)
def test_units_of_times(number: float, unit: str | None) -> None:
    assert Period.around(MOMENT, MOMENT).unit_of(number) == unit
