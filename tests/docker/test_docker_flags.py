"""The command line: options as docker takes them, and its words for those that it does not."""

from __future__ import annotations

import pytest

from sixhops.docker import values
from sixhops.docker.errors import FlagError
from sixhops.docker.flags import HelpRequested, flag, parse

FLAGS = (
    flag("interactive", short="i"),
    flag("tty", short="t"),
    flag("env", "list", "e"),
    flag("memory", "bytes", "m"),
    flag("network", "list"),
    flag("net", "list", same_as="network"),
    flag("time", "int", default=10),
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-it"], {"interactive": True, "tty": True}),
        (["-i=false", "--tty=T"], {"interactive": False, "tty": True}),
        (["-eA=1", "-e", "B", "--env=C", "--env", "D"], {"env": ["A=1", "B", "C", "D"]}),
        (["-m64m"], {"memory": 64 << 20}),
        (["-m=1.5k"], {"memory": 1536}),
        (["--net", "a", "--network=b"], {"network": ["a", "b"]}),
        (["--time", "-1"], {"time": -1}),
    ],
)
def test_options_are_read(arguments, expected):
    options = parse(FLAGS, arguments)

    assert {name: options[name] for name in expected} == expected
    assert options.given == set(expected)


def test_options_may_follow_arguments_unless_the_command_ends_them():
    arguments = ["image", "-t", "--", "-i"]

    assert parse(FLAGS, arguments).arguments == ["image", "-i"]
    assert parse(FLAGS, arguments, anywhere=False).arguments == ["image", "-t", "--", "-i"]


def test_a_dash_alone_is_an_argument():
    assert parse(FLAGS, ["-", "-t"]).arguments == ["-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["-itx"], "unknown shorthand flag: 'x' in -x"),
        (["--env"], "flag needs an argument: --env"),
        (["-ie"], "flag needs an argument: 'e' in -e"),
        (["-m", "1z"], 'invalid argument "1z" for "-m, --memory" flag: invalid size: \'1z\''),
        (
            ["--tty=maybe"],
            'invalid argument "maybe" for "-t, --tty" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (["---"], "bad flag syntax: ---"),
        (["--=x"], "bad flag syntax: --=x"),
    ],
)
def test_wrong_options_are_told_in_dockers_words(arguments, message):
    with pytest.raises(FlagError) as caught:
        parse(FLAGS, arguments)

    assert str(caught.value) == message


def test_help_is_asked_for_by_its_long_and_its_old_short_name():
    with pytest.raises(HelpRequested) as new:
        parse(FLAGS, ["--help"])
    with pytest.raises(HelpRequested) as old:
        parse(FLAGS, ["-h"])

    assert (new.value.deprecated, old.value.deprecated) == (False, True)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1s", 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("-10ms", -(10**7)),
        ("0", 0),
        ("2us", 2000),
    ],
)
def test_durations(text, nanoseconds):
    assert values.duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "3", "s", "1y", "1..2s", "-"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match=r"^time: "):
        values.duration(text)


@pytest.mark.parametrize(("text", "value"), [("1.5", 1_500_000_000), ("2", 2 * 10**9), ("1/4", 250_000_000)])
def test_cpus_are_billionths(text, value):
    assert values.billionths(text) == value


def test_cpus_that_are_too_precise():
    with pytest.raises(ValueError, match="value is too precise"):
        values.billionths("0.0000000001")
