"""What is drawn on a terminal, and what is sent for options that were not given."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from docker_case import Case, Keys

__all__ = ["CASES"]

_RUN = "run -d --name one busybox sleep 1000"
_QUICK = "run -d --name one --stop-signal KILL busybox sleep 1000"
_LOCAL = "127.0.0.1:5000"

CASES: tuple[Case, ...] = (
    # how long to wait is said only where it was asked for
    *(Case(line, (_QUICK,)) for line in ("stop one", "restart one", "container stop -t 1 one", "restart --time 1 one", "stop -t -1 one", "restart -t -1 one")),
    Case("commit -p=true -a me -m said -c ENV␠A=1 --change LABEL␠a=b one new:tag", (_RUN,)),
    Case("commit -c FOO␠x one", (_RUN,)),
    Case("commit one Foo", (_RUN,)),
    Case("commit nosuch", (_RUN,)),
    # what a terminal gets
    *(
        Case(line, (_RUN, "create --name two busybox true"), terminal=Keys(typed=((r"two(.|\n)*two(.|\n)*two", "<signal SIGINT>"),) if "no-stream" not in line else ()), requests=False)
        for line in ("stats --format {{.Name}}:{{.PIDs}} one two", "stats --no-stream --format {{.Name}}:{{.PIDs}} one")
    ),
    *(
        Case(line, before, terminal=Keys(), requests=False)
        for line, before in (
            ("pull hello-world", ("rmi hello-world",)), ("pull hello-world", ()), ("pull -q hello-world", ("rmi hello-world",)), ("pull hello-world:nosuch", ()), ("run --rm hello-world", ("rmi hello-world",)), ("pull busybox", ("rmi busybox",)), ("create busybox", ("rmi busybox",)),
            ("load -i x.tar", ("save -o x.tar hello-world", "rmi hello-world")), ("import some.tar", ()), (f"push {_LOCAL}/new", (f"tag busybox {_LOCAL}/new", f"push {_LOCAL}/new")), ("ps -a", (_RUN,)), ("logs one", ("run --name one busybox echo a",)),
            ("save busybox", ()), ("export one", ("create --name one busybox",)), ("image prune", ()), ("system df", ()),
        )
    ),
    Case("container prune", ("create --name one busybox",), terminal=Keys(typed=((r"\[y/N\] ", "y\n"),))),
    Case("pull busybox", ("rmi busybox",), terminal=Keys(columns=60), requests=False),
    Case("pull busybox", ("rmi busybox",), terminal=Keys(columns=20), requests=False),
    Case("login 127.0.0.1:1", terminal=Keys(typed=(("Username: ", "me\n"), ("Password: ", "word\n")))),
    Case("login 127.0.0.1:1", terminal=Keys(typed=((r"Username \(me\): ", "\n"), ("Password: ", "word\n"))), config={"auths": {"127.0.0.1:1": {"auth": "bWU6d29yZA=="}}}),
    Case("login -u me 127.0.0.1:1", terminal=Keys(typed=(("Password: ", "word\n"),))),
)  # fmt: skip
