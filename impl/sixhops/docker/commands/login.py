"""`login` and `logout`: who somebody is at a registry, asked of the engine and kept for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sixhops.docker import credentials
from sixhops.docker.command import Command, Context
from sixhops.docker.errors import ApiError, ConnectError, DockerError, ExitError
from sixhops.docker.flags import flag
from sixhops.docker.screen import terminal

if TYPE_CHECKING:
    from sixhops.docker.engine.client import Client

__all__ = ["LOGIN", "LOGOUT"]

_UNAUTHORIZED = 401
_HUB_HINT = (
    "Login with your Docker ID to push and pull images from Docker Hub. If you don't have a Docker ID, head over to "
    "https://hub.docker.com to create one."
)
_STORED_PLAINLY = (
    "WARNING! Your password will be stored unencrypted in {}.\nConfigure a credential helper to remove this warning. See\n"
    "https://docs.docker.com/engine/reference/commandline/login/#credentials-store\n\n"
)


def _login(context: Context) -> int:
    client, options = context.client, context.options
    user, password = options["username"], _password(context)
    default = _default_registry(client)
    named = options.arguments[0] if options.arguments else ""
    server = named if named and named != "docker.io" else default
    is_default = server == default
    key = server if is_default else credentials.host_of(server)
    known: dict[str, str] = {}
    problem: DockerError | None = None
    answer: dict[str, str] = {}
    if not user and not password:
        try:
            known = credentials.find(client.settings, key)
        except DockerError as error:
            problem = error
        known.pop("identitytoken", None)
    found = {**known, "serveraddress": key}
    if problem is None and found.get("username") and found.get("password"):
        sys.stdout.write("Authenticating with existing credentials...\n")
        sys.stdout.flush()
        try:
            answer = _authenticate(client, found)
        except DockerError as error:
            problem = error
            if isinstance(error, ApiError) and error.status == _UNAUTHORIZED:
                sys.stderr.write("Stored credentials invalid or expired\n")
            else:
                sys.stderr.write(f"Login did not succeed, error: {error}\n")
    if problem is not None or not found.get("username") or not found.get("password"):
        found |= _ask(user, password, found.get("username", ""), is_default=is_default)
        answer = _authenticate(client, found)
    if answer.get("IdentityToken"):
        found.pop("password", None)
        found["identitytoken"] = answer["IdentityToken"]
    settings = client.settings
    if not credentials.helper_of(settings, server) and found.get("password"):
        sys.stderr.write(_STORED_PLAINLY.format(f"{settings.directory}/config.json"))
    try:
        credentials.store(settings, key, found)
    except DockerError as error:
        raise DockerError(f"Error saving credentials: {error}") from error
    if answer.get("Status"):
        sys.stdout.write(f"{answer['Status']}\n")
    return 0


def _authenticate(client: Client, found: dict[str, str]) -> dict[str, str]:
    """Return what the engine says of somebody; when there is no engine, the registry itself is asked."""
    try:
        answer: dict[str, str] = client.json("POST", "/auth", None, _ordered(found))
    except ConnectError:
        from sixhops.docker.engine import registrylogin  # noqa: PLC0415 - TLS and URLs take long to import

        return registrylogin.sign_in(found)
    return answer


def _password(context: Context) -> str:
    options = context.options
    password = str(options["password"])
    if password:
        sys.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
        if options["password-stdin"]:
            raise DockerError("--password and --password-stdin are mutually exclusive")
    if options["password-stdin"]:
        if not options["username"]:
            raise DockerError("Must provide --username with --password-stdin")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    return password


def _default_registry(client: Client) -> str:
    """Return the registry that the engine takes for the default one."""
    try:
        return str(client.json("GET", "/info").get("IndexServerAddress") or credentials.HUB)
    except (ConnectError, ApiError):
        return credentials.HUB


def _ordered(found: dict[str, str]) -> dict[str, str]:
    names = ("username", "password", "serveraddress", "identitytoken", "registrytoken")
    return {name: found[name] for name in names if found.get(name)}


def _ask(user: str, password: str, known: str, *, is_default: bool) -> dict[str, str]:
    """Return user and password, asked for where they were not given. Raises DockerError."""
    if not password and not terminal.is_terminal(0):
        raise DockerError("Error: Cannot perform an interactive login from a non TTY device")
    user = user.strip()
    if not user:
        if is_default:
            sys.stdout.write(f"{_HUB_HINT}\n")
        user = _line(f"Username ({known}): " if known.strip() else "Username: ").strip() or known.strip()
    if not user:
        raise DockerError("Error: Non-null Username Required")
    if not password:
        with terminal.NoEcho(0):
            password = _line("Password: ")
            sys.stdout.write("\n")
        if not password:
            raise DockerError("Error: Password Required")
    return {"username": user, "password": password}


def _line(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stdout.write("EOF\n")
        raise ExitError(1)
    return line.rstrip("\r\n")


def _logout(context: Context) -> int:
    settings = context.client.settings
    named = context.options.arguments[0] if context.options.arguments else ""
    if named:
        host = credentials.host_of(named)
        # credentials may be kept under any of these
        keys = [named, host, f"http://{host}", f"https://{host}"]
    else:
        host = _default_registry(context.client)
        keys = [host]
    sys.stdout.write(f"Removing login credentials for {host}\n")
    problems = {}
    for key in keys:
        try:
            credentials.erase(settings, key)
        except DockerError as error:
            problems[key] = error
    if len(problems) == len(keys):  # the same name twice is one problem, and docker says nothing then
        sys.stdout.flush()
        sys.stderr.write("WARNING: could not erase credentials:\n")
        sys.stderr.write("".join(f"{key}: {problem}\n" for key, problem in problems.items()))
    return 0


LOGIN = Command(
    usage="[SERVER]",
    summary="Log in to a Docker registry",
    about="Log in to a Docker registry.\nWithout a server it is the default one, which the engine defines.",
    run=_login,
    most=1,
    flags=(
        flag("password", "string", "p", "Password"),
        flag("password-stdin", help="Take the password from stdin"),
        flag("username", "string", "u", "Username"),
    ),
)
LOGOUT = Command(
    usage="[SERVER]",
    summary="Log out from a Docker registry",
    about="Log out from a Docker registry.\nWithout a server it is the default one, which the engine defines.",
    run=_logout,
    most=1,
)
