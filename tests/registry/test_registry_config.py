from pathlib import Path

import pytest

from sixhops.registry.config import Config, ConfigError, parse_config

WHOLE = """
version: 0.1
log: {level: debug, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: /data}
  delete: {enabled: true}
  maintenance: {readonly: {enabled: true}}
http:
  addr: /run/registry.sock
  net: unix
  headers: {X-Content-Type-Options: [nosniff], X-One: two}
  tls: {certificate: /c.pem, key: /k.pem}
auth: {htpasswd: {realm: here, path: /htpasswd}}
compatibility: {schema1: {enabled: true}}
"""
LEAST = "version: 0.1\nstorage: {filesystem: {rootdirectory: /data}}\n"


def test_every_key_is_read() -> None:
    assert parse_config(WHOLE) == Config(
        root=Path("/data"),
        address="/run/registry.sock",
        net="unix",
        delete=True,
        schema1=True,
        read_only=True,
        headers=(("X-Content-Type-Options", "nosniff"), ("X-One", "two")),
        certificate=Path("/c.pem"),
        key=Path("/k.pem"),
        level="debug",
        access_log=False,
        realm="here",
        htpasswd=Path("/htpasswd"),
    )


def test_defaults_are_docker_registrys() -> None:
    found = parse_config(LEAST)

    assert (found.delete, found.schema1, found.read_only, found.htpasswd) == (False, False, False, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "configuration: expected a mapping"),
        ("[]", "configuration: expected a mapping"),
        ("a: [", "not YAML"),
        ("storage: {filesystem: {rootdirectory: /data}}", "version: missing"),
        ("version: 0.1", "storage.filesystem.rootdirectory: missing"),
        (LEAST.replace("0.1", "0.2"), "version: expected 0.1"),
        (LEAST + "redis: {}", "redis: not supported"),
        (LEAST + "htpp: {}", "htpp: not supported; did you mean http?"),
        (LEAST + "http: {adr: x}", "http.adr: not supported; did you mean addr?"),
        (LEAST + "http: {tls: {letsencrypt: {}}}", "http.tls.letsencrypt: not supported"),
        (LEAST + "http: {tls: {key: /k}}", "http.tls: certificate and key belong together"),
        (LEAST + "http: {net: udp}", "http.net: expected tcp or unix"),
        (LEAST + "http: 5", "http: expected a mapping"),
        (LEAST + "http: {headers: {a: [1]}}", "http.headers: 'a': expected strings"),
        (LEAST + "log: {level: loud}", "log.level: expected one of"),
        (LEAST + "auth: {htpasswd: {realm: x}}", "auth.htpasswd: realm and path belong together"),
        (
            LEAST + "compatibility: {schema1: {enabled: 1}}",
            "compatibility.schema1.enabled: expected true or false",
        ),
        (LEAST.replace("filesystem", "s3"), "storage.s3: not supported"),
    ],
)
def test_what_is_not_supported_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(text)

    assert str(raised.value).startswith(message)
