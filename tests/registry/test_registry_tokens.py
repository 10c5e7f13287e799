from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import bcrypt
import pytest
import registry_support as support
from registry_support import OCI, Running, digest, manifest

from sixhops.registry.access.auth import PasswordFile
from sixhops.registry.access.tokens import LIFETIME_SECONDS, Access, TokenService, WrongPassword

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PULL = Access("repository", "a/b", "pull")
PUSH = Access("repository", "a/b", "push")
CATALOG = Access("registry", "catalog", "*")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def passwords(directory: Path) -> Path:
    path = directory / "users"
    path.write_text("me:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode() + "\n")
    return path


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> TokenService:
    return TokenService(PasswordFile(passwords(tmp_path), "here"), "here", anonymous_pull=True, clock=clock)


def bearer(service: TokenService, authorization: str, *scopes: str) -> str:
    answer = asyncio.run(service.issue(authorization, scopes))
    assert answer["token"] == answer["access_token"]
    return f"Bearer {answer['token']}"


def test_a_user_gets_what_is_asked_for_and_no_more(service: TokenService) -> None:
    header = bearer(
        service, basic("me", "secret"), "repository:a/b:pull,push registry:catalog:*", "repository:c:pull"
    )

    assert service.refusal(header, [PULL, PUSH, CATALOG]) is None
    assert service.refusal(header, [Access("repository", "a/b", "delete")]) == "insufficient_scope"
    assert service.refusal(header, [Access("repository", "c", "push")]) == "insufficient_scope"


def test_nobody_pulls_only(service: TokenService) -> None:
    header = bearer(service, "", "repository:a/b:pull,push", "registry:catalog:*")

    assert service.refusal(header, [PULL]) is None
    assert service.refusal(header, [PULL, PUSH]) == "insufficient_scope"
    assert service.refusal(header, [CATALOG]) == "insufficient_scope"


def test_wrong_password_is_not_nobody(service: TokenService) -> None:
    with pytest.raises(WrongPassword):
        asyncio.run(service.issue(basic("me", "wrong"), ["repository:a/b:pull"]))


def test_tokens_end(service: TokenService, clock: Clock) -> None:
    header = bearer(service, basic("me", "secret"), "repository:a/b:pull")
    clock.now += LIFETIME_SECONDS - 1
    assert service.refusal(header, [PULL]) is None

    clock.now += 1

    assert service.refusal(header, [PULL]) == "invalid_token"


def test_every_changed_character_of_a_token_is_noticed(service: TokenService) -> None:
    header = bearer(service, basic("me", "secret"), "repository:a/b:pull")

    for at in range(len("Bearer "), len(header)):
        changed = header[:at] + ("A" if header[at] != "A" else "B") + header[at + 1 :]
        assert service.refusal(changed, [PULL]) == "invalid_token"


def test_token_of_another_process(service: TokenService, tmp_path: Path) -> None:
    other = TokenService(PasswordFile(passwords(tmp_path), "here"), "here", anonymous_pull=True)

    header = bearer(other, basic("me", "secret"), "repository:a/b:pull")

    assert service.refusal(header, [PULL]) == "invalid_token"


@pytest.mark.parametrize(
    "scope", ["", ":", "repository", "repository::pull", "repository:a/b:", "plugin:a/b:pull", "x:y:z"]
)
def test_malformed_scopes_grant_nothing(service: TokenService, scope: str) -> None:
    header = bearer(service, basic("me", "secret"), scope)

    assert service.refusal(header, []) is None
    assert service.refusal(header, [PULL]) == "insufficient_scope"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("tokens")
    auth = f"{{tokenservice: {{service: here, path: '{passwords(directory)}', anonymouspull: true}}}}"
    with support.ours(directory, support.configuration(directory / "data", auth=auth)) as running:
        yield running


def follow(server: Running, challenge: str, authorization: str) -> dict[str, str]:
    """Do what a client does with a challenge; return the header for the next try."""
    found = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urlencode(
        [("service", found["service"]), *(("scope", s) for s in found.get("scope", "").split())]
    )
    sent = {"Authorization": authorization} if authorization else {}
    answer = server.ask("GET", f"{server.path(found['realm'])}?{query}", headers=sent)
    assert answer.status == 200
    return {"Authorization": f"Bearer {answer.json['token']}"}


def test_push_with_a_password_and_pull_without(server: Running) -> None:
    image = manifest(OCI, b"{}")
    kind = {"Content-Type": OCI}
    target = f"/v2/lib/x/blobs/uploads/?digest={digest(b'{}')}"

    refused = server.ask("POST", target, b"{}")
    assert (refused.status, refused.codes) == (401, ["UNAUTHORIZED"])
    assert 'scope="repository:lib/x:pull,push"' in refused.headers["www-authenticate"]
    nobody = follow(server, refused.headers["www-authenticate"], "")
    again = server.ask("POST", target, b"{}", nobody)
    assert again.headers["www-authenticate"].endswith('error="insufficient_scope"')
    me = follow(server, refused.headers["www-authenticate"], basic("me", "secret"))
    assert server.ask("POST", target, b"{}", me).status == 201
    assert server.ask("PUT", "/v2/lib/x/manifests/y", image, me | kind).status == 201

    pull = server.ask("GET", "/v2/lib/x/manifests/y")
    assert pull.status == 401
    anyone = follow(server, pull.headers["www-authenticate"], "")
    assert server.ask("GET", "/v2/lib/x/manifests/y", headers=anyone).body == image
    assert server.ask("GET", "/v2/lib/other/manifests/y", headers=anyone).status == 401


def test_mount_needs_the_source_too(server: Running) -> None:
    answer = server.ask("POST", f"/v2/to/blobs/uploads/?mount={digest(b'{}')}&from=lib/from")

    assert 'scope="repository:to:pull,push repository:lib/from:pull"' in answer.headers["www-authenticate"]


def test_login_checks_the_password(server: Running) -> None:
    challenge = server.ask("GET", "/v2/").headers["www-authenticate"]

    assert challenge == f'Bearer realm="http://127.0.0.1:{server.port}/token",service="here"'
    assert server.ask("GET", "/v2/", headers=follow(server, challenge, basic("me", "secret"))).status == 200
    wrong = server.ask("GET", "/token?service=here", headers={"Authorization": basic("me", "wrong")})
    assert (wrong.status, wrong.codes) == (401, ["UNAUTHORIZED"])


def test_token_by_form(server: Running) -> None:
    form = {"grant_type": "password", "username": "me", "password": "secret", "scope": "registry:catalog:*"}

    answer = server.ask("POST", "/token", urlencode(form).encode())
    other = server.ask("POST", "/token", urlencode(form | {"grant_type": "refresh_token"}).encode())
    torn = server.ask("POST", "/token", b"\xff" * 10)

    header = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert server.ask("GET", "/v2/_catalog", headers=header).status == 200
    assert (other.status, torn.status) == (400, 400)
    assert server.ask("PUT", "/token", b"").status == 405
