"""The command lines about who somebody is and where the engine is: login, logout, credential helpers, contexts, ssh."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from docker_case import Case, Keys

__all__ = ["CASES"]

_TOY = {"credsStore": "toy"}
_AUTH = {
    "auths": {
        "known.example": {"auth": "bWU6d29yZA=="},
        "https://index.docker.io/v1/": {"auth": "aHViOndvcmQ="},
    }
}
_NO_HOST: dict[str, str | None] = {"DOCKER_HOST": None}
_LOCAL = "127.0.0.1:5000"
_MADE = "context create made --docker host=unix://@SOCKET --description words"
_TLS = "context create made --docker host=tcp://127.0.0.1:1,ca=pem,cert=pem,key=pem"
_PEM = "!openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout key.pem -out cert.pem -days 30; cat cert.pem key.pem >pem"

CASES: tuple[Case, ...] = (
    # login and logout
    *(
        Case(line)
        for line in (
            "login a b", "login --foo", "login -u", "login -u me", "login -p word", "login --password-stdin", "login -p word --password-stdin -u me", f"login {_LOCAL}", "logout a b", "logout", f"logout {_LOCAL}", "logout http://known.example/v1/",
            "login -u me -p word 127.0.0.1:1",
        )
    ),
    Case(f"login -u me -p word {_LOCAL}"),
    Case(f"login -u me --password-stdin {_LOCAL}", stdin=b"word\r\n"),
    Case(f"login -u me --password-stdin {_LOCAL}", stdin=b""),
    Case(f"login -u me -p word http://{_LOCAL}/v2/"),
    Case(f"login -u me -p word {_LOCAL}", config=_AUTH | {"psFormat": "x", "HttpHeaders": {"X-Own": "a"}}),
    Case(f"login -u me -p word {_LOCAL}", config=_TOY),
    Case(f"login -u me -p word {_LOCAL}", config={"credHelpers": {_LOCAL: "toy"}}),
    Case(f"login -u me -p word {_LOCAL}", config={"credsStore": "nosuch"}),
    Case(f"login {_LOCAL}", config={"auths": {_LOCAL: {"auth": "bWU6d29yZA=="}}}),
    Case("login known.example", config=_TOY, requests=False),
    Case("login token.example", config=_TOY),
    Case("login broken.example", config=_TOY),
    Case("logout known.example", config=_AUTH),
    Case("logout", config=_AUTH),
    Case("logout known.example", config=_TOY),
    Case("logout known.example", config={"credsStore": "nosuch"}, unordered=True),
    Case("logout other.example", config={"auths": {"https://other.example": {"auth": "bWU6d29yZA=="}}}),
    Case(f"login {_LOCAL}", terminal=Keys(typed=(("Username: ", "\n"),))),
    Case(f"login -u me {_LOCAL}", terminal=Keys(typed=(("Password: ", "\n"),))),
    Case("login", terminal=Keys(typed=(("Username: ", "\n"),))),
    # who pulls and pushes
    *(
        Case(f"pull {name}/a/b:c", config=config)
        for name, config in (
            ("known.example", _AUTH), ("other.example", _AUTH), ("known.example", _TOY), ("token.example", _TOY), ("unknown.example", _TOY), ("broken.example", _TOY), ("known.example", {"credHelpers": {"known.example": "toy"}}),
            ("known.example", {"auths": {"https://known.example/v1/": {"auth": "bWU6d29yZA=="}}}), ("known.example", {"auths": {"known.example": {"auth": "bWU6d29yZA==", "identitytoken": "tok"}}}),
            ("known.example", {"auths": {"known.example": {"registrytoken": "tok"}}}), ("known.example", {"auths": {"known.example": {}}}),
        )
    ),
    Case("pull nosuch", config=_AUTH),
    Case("search nosuch", config=_AUTH),
    Case("search known.example/x", config=_AUTH),
    Case("search --limit 5 --filter stars=3 --no-trunc nosuch"),
    Case("push other", ("tag busybox other",), config=_AUTH),
    Case(f"push {_LOCAL}/new", (f"tag busybox {_LOCAL}/new", f"push {_LOCAL}/new"), requests=False),
    Case(f"push -q {_LOCAL}/new:a", (f"tag busybox {_LOCAL}/new:a",)),
    Case(f"push -a {_LOCAL}/new", (f"tag busybox {_LOCAL}/new:a", f"tag busybox {_LOCAL}/new:b"), unordered=True, requests=False),
    Case(f"push {_LOCAL}/new:nosuch", (f"tag busybox {_LOCAL}/new:a",)),
    # contexts
    *(
        Case(line, environment=_NO_HOST)
        for line in (
            "context ls", "context ls -q", "context list", "context inspect", "context inspect default", "context inspect nosuch", "context inspect default nosuch -f {{.Name}}", "context inspect -f {{.Endpoints.docker.Host}}", "context use", "context use a b", "context use nosuch", "context use default",
            "context rm", "context rm default nosuch", "context rm -f nosuch", "context create", "context create default", "context create a", "context create a!b", "context create made", "context create made --from nosuch", "context create made --from default --docker host=x", "context create made --description words",
            "context create made --docker host=tcp://127.0.0.1:1", "context create made --docker foo=bar", "context create made --docker foo", "context create made --docker host=foo", "context create made --docker host=ssh://a@b:22", "context create made --docker host=ssh://a:b@c", "context create made --docker host=ssh://a/b",
            "context create made --docker host=tcp://127.0.0.1:1,skip-tls-verify=true", "context create made --docker host=tcp://a:1,skip-tls-verify=x", "context create made --docker host=tcp://a:1,ca=nofile", "context create made --docker host=tcp://a:1,ca=f", "context create made --docker from=nosuch",
            "context create made --default-stack-orchestrator foo", "context create made --default-stack-orchestrator swarm --docker host=tcp://a:1", "context create made --docker description=x --default-stack-orchestrator all", "context update", "context update nosuch", "context update default", "context export", "context export nosuch", "context export default", "context import", "context import a", "context import made nofile",
            "context import made f", "context import default f", "context import made some.tar", "-c nosuch context ls", "version -f {{.Client.Context}}", "--tlsverify context ls", "--tls ps",
        )
    ),
    *(
        Case(line, (_MADE,), environment=_NO_HOST)
        for line in (
            "context ls", "context ls --format {{.Name}}|{{.Current}}|{{.Description}}|{{.DockerEndpoint}}|{{.StackOrchestrator}}", "context ls --format {{json␠.}}", "context inspect made", "context inspect made default -f {{.Name}}|{{.Metadata.Description}}", "context use made", "context rm made", "context remove made nosuch", "context create made --docker host=tcp://a:1", "context create made2 --from made", "context create other --from made --description new",
            "context create other --docker from=made", "context update made --description new", "context update made --docker host=tcp://127.0.0.1:2", "context update made --docker foo=bar", "context export made", "context export made f", "context export --kubeconfig made", "-c made ps -q", "-c made version -f {{.Client.Context}}", "-c made context ls", "-c made info -f {{.ClientInfo.Context}}", "--context made context inspect -f {{.Name}}", "-c made context rm made", "-c made context rm -f made",
        )
    ),
    Case("ps -q", (_MADE,), environment={"DOCKER_HOST": None, "DOCKER_CONTEXT": "made"}),
    Case("context ls", (_MADE,), environment={"DOCKER_HOST": None, "DOCKER_CONTEXT": "nosuch"}),
    Case("ps", environment={"DOCKER_HOST": None, "DOCKER_CONTEXT": "nosuch"}),
    Case("context ls", (_MADE,)),
    Case("context use made", (_MADE,)),
    Case("ps -q", (_MADE, "context use made"), environment=_NO_HOST),
    Case("context ls", (_MADE, "context use made"), environment=_NO_HOST),
    Case("context show", (_MADE, "context use made"), environment=_NO_HOST),
    Case("context rm made", (_MADE, "context use made"), environment=_NO_HOST),
    Case("context rm -f made", (_MADE, "context use made"), environment=_NO_HOST),
    Case("context use default", (_MADE, "context use made"), environment=_NO_HOST),
    Case("context ls", (_MADE, "context use made", "!rm -r config/contexts"), environment=_NO_HOST),
    Case("context import again made.dockercontext", (_MADE, "context export made"), environment=_NO_HOST),
    Case("context import made made.dockercontext", (_MADE, "context export made"), environment=_NO_HOST),
    Case("context inspect made", (_PEM, _TLS), environment=_NO_HOST),
    Case("context import again made.dockercontext", (_PEM, _TLS, "context export made"), environment=_NO_HOST),
    Case("context create other --from made", (_PEM, _TLS), environment=_NO_HOST),
    Case("context update made --docker host=tcp://a:1", (_PEM, _TLS), environment=_NO_HOST),
    Case("context rm made", (_PEM, _TLS), environment=_NO_HOST),
    Case("-c made ps", (_PEM, _TLS), environment=_NO_HOST),
    # an engine behind ssh; the ssh of these cases runs what it is given on this machine
    *(
        Case(line, ("run -d --name one busybox sleep 100",), environment={"DOCKER_HOST": host}, requests=False)
        for line, host in (
            ("ps --format {{.Names}}", "ssh://far"), ("run --rm -i busybox cat", "ssh://me@far:2222"), ("exec one echo a", "ssh://me@far"), ("logs one", "ssh://far"), ("cp f one:/tmp", "ssh://far"), ("images -q", "ssh://[::1]:22"),
            ("ps", "ssh://refused"), ("ps", "ssh://far/path"), ("ps", "ssh://me:word@far"), ("ps", "ssh://"), ("ps", "ssh://far?x=y"), ("context inspect -f {{.Endpoints.docker.Host}}", "ssh://far"),
        )
    ),
    Case("-H ssh://far version -f {{.Server.Version}}", requests=False),
    *(Case(line) for line in ("-H tcp://a:b ps", "-H tcp:// ps", "-H unix:// context inspect -f {{.Endpoints.docker.Host}}", "-H foo context inspect -f {{.Endpoints.docker.Host}}", "-H :2375 context inspect -f {{.Endpoints.docker.Host}}", "-H tcp://[::1] context inspect -f {{.Endpoints.docker.Host}}", "-H 127.0.0.1:1/x ps", "-H unix://tcp://x ps")),
)  # fmt: skip
