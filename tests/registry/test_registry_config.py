from pathlib import Path

import pytest

from sixhops.registry.settings.config import Config, ConfigError, parse_config

WHOLE = """
version: 0.1
log: {level: debug, formatter: json, fields: {service: registry, number: 5}, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: /data}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
  redirect: {disable: true}
  maintenance:
    readonly: {enabled: true}
    uploadpurging: {enabled: false, age: 24h, interval: 1h30m, dryrun: true}
http:
  addr: /run/registry.sock
  net: unix
  host: https://registry.example/
  prefix: /one/two/
  secret: xyz
  relativeurls: true
  draintimeout: 500ms
  headers: {X-Content-Type-Options: [nosniff], X-One: two}
  tls: {certificate: /c.pem, key: /k.pem, clientcas: [/ca.pem], minimumtls: tls1.3}
  http2: {disabled: true}
auth: {htpasswd: {realm: here, path: /htpasswd}}
health: {storagedriver: {enabled: true, interval: 10s, threshold: 4}}
catalog: {maxentries: 50}
proxy: {remoteurl: https://other.example, username: me, password: secret}
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
        formatter="json",
        fields=(("service", "registry"), ("number", "5")),
        purge=False,
        purge_age=86400.0,
        purge_interval=5400.0,
        purge_dry_run=True,
        host="https://registry.example",
        prefix="/one/two",
        secret="xyz",
        relative_urls=True,
        drain_seconds=0.5,
        client_authorities=(Path("/ca.pem"),),
        minimum_tls="tls1.3",
        watch_storage=True,
        watch_interval=10.0,
        watch_threshold=4,
        catalog_limit=50,
        remote="https://other.example",
        remote_user="me",
        remote_password="secret",
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
        (LEAST + "http: {net: udp}", "http.net: expected one of tcp, unix"),
        (LEAST + "http: 5", "http: expected a mapping"),
        (LEAST + "http: {headers: {a: [1]}}", "http.headers: 'a': expected strings"),
        (LEAST + "log: {level: loud}", "log.level: expected one of"),
        (LEAST + "auth: {htpasswd: {realm: x}}", "auth.htpasswd: realm and path belong together"),
        (
            LEAST + "compatibility: {schema1: {enabled: 1}}",
            "compatibility.schema1.enabled: expected true or false",
        ),
        (LEAST.replace("filesystem", "s3"), "storage.s3: not supported"),
        (LEAST + "http: {http2: {disabled: false}}", "http.http2.disabled: only true is supported"),
        (LEAST + "http: {prefix: '/a/../b'}", "http.prefix: expected a path"),
        (LEAST + "http: {draintimeout: 5}", "http.draintimeout: expected a duration"),
        (LEAST + "http: {tls: {clientcas: [/x]}}", "http.tls: clientcas needs certificate and key"),
        (LEAST + "http: {host: registry.example}", "http.host: expected a URL"),
        (LEAST + "proxy: {remoteurl: 'http://x:y'}", "proxy.remoteurl: expected a URL"),
        (LEAST + "proxy: {username: me, password: x}", "proxy: username needs remoteurl"),
        (LEAST + "catalog: {maxentries: 0}", "catalog.maxentries: expected a number of at least 1"),
        (LEAST + "log: {fields: [a]}", "log.fields: expected a mapping"),
        (
            LEAST + "auth: {token: {realm: x}}",
            "auth.token: not supported; supported here: htpasswd, tokenservice",
        ),
        (
            LEAST.replace("filesystem", "cache: {blobdescriptor: redis}, filesystem"),
            "storage.cache.blobdescriptor: expected inmemory",
        ),
    ],
)
def test_what_is_not_supported_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(text)

    assert str(raised.value).startswith(message)


@pytest.mark.skipif(
    not Path("/etc/docker/registry/config.yml").exists(), reason="docker-registry is not installed"
)
def test_debians_configuration_is_read() -> None:
    found = parse_config(Path("/etc/docker/registry/config.yml").read_text())

    assert (found.address, found.delete, found.watch_storage) == (":5000", True, True)


def test_environment_overrides_keys() -> None:
    found = parse_config(
        LEAST,
        {"REGISTRY_HTTP_ADDR": "127.0.0.1:7", "REGISTRY_STORAGE_DELETE_ENABLED": "true", "REGISTRY_X": "y"},
    )

    assert (found.address, found.delete) == ("127.0.0.1:7", True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "REGISTRY_HTTP_ADR",
            "x",
            "REGISTRY_HTTP_ADR: no key of this name is supported; did you mean REGISTRY_HTTP_ADDR?",
        ),
        ("REGISTRY_STORAGE_S3_BUCKET", "x", "REGISTRY_STORAGE_S3_BUCKET: no key of this name"),
        ("REGISTRY_HTTP_NET", "udp", "REGISTRY_HTTP_NET: http.net: expected one of"),
        ("REGISTRY_HTTP_ADDR", "[", "REGISTRY_HTTP_ADDR: not YAML"),
    ],
)
def test_environment_that_says_nothing_usable(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(LEAST, {name: value})

    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("0s", 0)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert parse_config(LEAST + f"http: {{draintimeout: {text}}}").drain_seconds == pytest.approx(seconds)
