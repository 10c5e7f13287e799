"""Change instructions: how they are read, what their words become, and what they do to a configuration."""

from __future__ import annotations

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.configuration.changes import apply
from sixhops.dockerd.images.configuration.instructions import parse
from sixhops.dockerd.images.configuration.words import WordError, expand, expand_words


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("plain", "plain"),
        ("'$A'", "$A"),
        ('"$A b"', "1 b"),
        ("$A$B", "1"),
        ("${A}x", "1x"),
        ("${B:-def}", "def"),
        ("${A:-def}", "1"),
        ("${A:+yes}", "yes"),
        ("${B:+yes}", ""),
        ("${B:-${A}}", "1"),
        (r"\$A", "$A"),
        (r'"a\"b\c"', r'a"b\c'),
        ("$", "$"),
        ("$1a", "a"),
        ("a\\", "a"),
    ],
)
def test_a_word(word: str, result: str) -> None:
    assert expand(word, {"A": "1"}) == result


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        ("${A", "missing ':' in substitution"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${A:=x}", "unsupported modifier (=) in substitution"),
        ("${B?}", "B: is not allowed to be unset"),
        ("${E:?}", "E: is not allowed to be empty"),
    ],
)
def test_a_word_without_meaning(word: str, message: str) -> None:
    with pytest.raises(WordError) as caught:
        expand(word, {"A": "1", "E": ""})

    assert str(caught.value).endswith(f": {message}")


def test_what_a_variable_holds_is_split_and_what_is_quoted_is_not() -> None:
    assert expand_words("$P", {"P": "80 90"}) == ["80", "90"]
    assert expand_words("'80 90'", {}) == ["80 90"]


def test_comments_and_continued_lines() -> None:
    found = parse("# escape=`\n# a comment\nENV A=1 `\n\n  B=2\ncmd x")

    assert [(entry.name, entry.arguments) for entry in found] == [
        ("env", ("A", "1", "B", "2")),
        ("cmd", ("x",)),
    ]


def test_instructions_follow_one_another() -> None:
    before = {"Env": ["PATH=/bin", "A=0"], "Cmd": ["sh"], "Labels": {"k": "v"}}

    after = apply(before, ["ENV A=1 B=$A", "LABEL l=$A", "WORKDIR /w", "WORKDIR x", "ENTRYPOINT run $A"])

    assert after["Env"] == ["PATH=/bin", "A=1", "B=0"]
    assert after["Labels"] == {"k": "v", "l": "1"}
    assert after["WorkingDir"] == "/w/x"
    assert (after["Entrypoint"], after["Cmd"]) == (["/bin/sh", "-c", "run $A"], None)
    assert before == {"Env": ["PATH=/bin", "A=0"], "Cmd": ["sh"], "Labels": {"k": "v"}}


def test_a_command_that_was_set_before_an_entry_point_stays() -> None:
    after = apply({}, ['CMD ["c"]', 'ENTRYPOINT ["e"]'])

    assert (after["Entrypoint"], after["Cmd"]) == (["e"], ["c"])


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", ["80/tcp"]),
        ("80/UDP 81", ["80/udp", "81/tcp"]),
        ("80-82/sctp", ["80/sctp", "81/sctp", "82/sctp"]),
        ("1.2.3.4:1-3:10-12", ["10/tcp", "11/tcp", "12/tcp"]),
    ],
)
def test_exposed_ports(text: str, ports: list[str]) -> None:
    assert sorted(apply({}, [f"EXPOSE {text}"])["ExposedPorts"]) == ports


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EXPOSE 9-8", "Invalid containerPort: 9-8"),
        ("EXPOSE 1.2.3:80:90", "Invalid ip address: 1.2.3"),
        ("EXPOSE x:90", "Invalid hostPort: x"),
        ("EXPOSE 1-2:90-93", "Invalid ranges specified for container and host Ports: 90-93 and 1-2"),
        ("HEALTHCHECK --interval CMD x", "Missing a value on flag: interval"),
        ("HEALTHCHECK --retries=1 --retries=2 CMD x", "Duplicate flag specified: retries"),
        ("HEALTHCHECK --timeout=1us CMD x", 'Interval "timeout" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=x CMD x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("ENV --x A=1", "Unknown flag: x"),
        ("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        apply({}, [text])

    assert (caught.value.status, caught.value.message) == (400, message)
