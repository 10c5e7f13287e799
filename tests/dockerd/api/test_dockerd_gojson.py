"""Every message here was given by dockerd 20.10 for the same body."""

from __future__ import annotations

import pytest

from sixhops.dockerd.api import bodies
from sixhops.dockerd.api.gojson import GoJsonError, check, decode, decode_whole, encode

SYNTAX = [
    ("", "EOF"),
    (" ", "EOF"),
    ('{"Image":', "unexpected EOF"),
    ('{"Image":"a', "unexpected EOF"),
    ('{"Image":"x"', "unexpected EOF"),
    ("[1", "unexpected EOF"),
    ("not json", "invalid character 'o' in literal null (expecting 'u')"),
    ('{"Image" "x"}', "invalid character '\"' after object key"),
    ('{"Image":"x",}', "invalid character '}' looking for beginning of object key string"),
    ('{"Image":tru}', "invalid character '}' in literal true (expecting 'e')"),
    ('{"Image":nulx}', "invalid character 'x' in literal null (expecting 'l')"),
    ('{"Image":"\\x"}', "invalid character 'x' in string escape code"),
    ("{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
    ("}", "invalid character '}' looking for beginning of value"),
    ('{"Image":01}', "invalid character '1' after object key:value pair"),
    ('{"Image":-}', "invalid character '}' in numeric literal"),
    ('{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
    ('{"a":"\x01"}', "invalid character '\\x01' in string literal"),
    ("NaN", "invalid character 'N' looking for beginning of value"),
]
INTO = "json: cannot unmarshal "
FIELD = "into Go struct field "
TYPES = [
    ('{"Image":5}', f"number {FIELD}ContainerConfigWrapper.Image of type string"),
    ("[]", "array into Go value of type runconfig.ContainerConfigWrapper"),
    ("5", "number into Go value of type runconfig.ContainerConfigWrapper"),
    ('{"Cmd":5}', f"number {FIELD}ContainerConfigWrapper.Cmd of type string"),
    ('{"Cmd":[5]}', f"array {FIELD}ContainerConfigWrapper.Cmd of type string"),
    ('{"Env":"a"}', f"string {FIELD}ContainerConfigWrapper.Env of type []string"),
    ('{"HostConfig":5}', f"number {FIELD}ContainerConfigWrapper.HostConfig of type container.HostConfig"),
    ('{"HostConfig":{"Memory":"x"}}', f"string {FIELD}HostConfig.HostConfig.Memory of type int64"),
    ('{"HostConfig":{"Memory":1.5}}', f"number 1.5 {FIELD}HostConfig.HostConfig.Memory of type int64"),
    ('{"HostConfig":{"Memory":1e30}}', f"number 1e30 {FIELD}HostConfig.HostConfig.Memory of type int64"),
    ('{"Labels":["a"]}', f"array {FIELD}ContainerConfigWrapper.Labels of type map[string]string"),
    ('{"Labels":{"a":1}}', f"number {FIELD}ContainerConfigWrapper.Labels of type string"),
    ('{"ExposedPorts":[]}', f"array {FIELD}ContainerConfigWrapper.ExposedPorts of type nat.PortSet"),
    (
        '{"HostConfig":{"PortBindings":{"80/tcp":"x"}}}',
        f"string {FIELD}HostConfig.HostConfig.PortBindings of type []nat.PortBinding",
    ),
    (
        '{"HostConfig":{"Ulimits":[{"Soft":"x"}]}}',
        f"string {FIELD}Ulimit.HostConfig.Ulimits.Soft of type int64",
    ),
    (
        '{"HostConfig":{"LogConfig":{"Config":5}}}',
        f"number {FIELD}LogConfig.HostConfig.LogConfig.Config of type map[string]string",
    ),
    ('{"tty":"yes"}', f"string {FIELD}ContainerConfigWrapper.Tty of type bool"),
]


@pytest.mark.parametrize(("text", "message"), SYNTAX)
def test_decode_says_what_go_says(text: str, message: str) -> None:
    with pytest.raises(GoJsonError) as caught:
        decode(text.encode())

    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "message"), TYPES)
def test_check_says_what_go_says(text: str, message: str) -> None:
    with pytest.raises(GoJsonError) as caught:
        check(decode(text.encode()), bodies.CREATE)

    assert str(caught.value) == INTO + message


def test_decode_takes_the_first_value_only() -> None:
    assert decode(b' {"a": [1, 2.5, null]} trailing') == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "unexpected end of JSON input"), ("{} x", "invalid character 'x' after top-level value")],
)
def test_decode_whole_takes_all_or_nothing(text: str, message: str) -> None:
    with pytest.raises(GoJsonError) as caught:
        decode_whole(text.encode())

    assert str(caught.value) == message


def test_check_accepts_null_and_words() -> None:
    check({"Cmd": "sh", "Entrypoint": ["a"], "Env": None, "HostConfig": None, "unknown": 1}, bodies.CREATE)


def test_encode_escapes_html_and_ends_with_a_newline() -> None:
    assert encode({"a": "<b> & \u2028ä"}) == '{"a":"\\u003cb\\u003e \\u0026 \\u2028ä"}\n'.encode()
