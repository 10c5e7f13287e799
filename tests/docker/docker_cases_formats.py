"""Command lines to compare: what `--format` may ask of each command, how templates go wrong, and times that are none."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from docker_case import Case

__all__ = ["CASES"]

_RUN = "run -d --name one busybox sleep 1000"
_VOLUME, _NETWORK = "volume create vol", "network create net"

CASES = (
    # fields that docker's own types have or do not have
    *(
        Case(line)
        for line in (
            "info -f {{.Foo}}", "info -f {{.ID.Foo}}", "info -f {{.Name}}␠{{.NoSuch}}", "info -f {{.Swarm.Foo}}", "info -f {{.Swarm.NodeID}}", "info -f {{.Swarm.Cluster.ID}}", "info -f {{.ClientInfo.Foo}}", "info -f {{.ServerErrors}}␠{{.DefaultAddressPools}}", "info -f {{.RegistryConfig.Foo}}", "info -f {{.Runtimes}}", "info -f {{.ContainerdCommit}}", "info -f {{range␠.Foo}}x{{end}}", "info -f {{json␠.Foo}}", "info -f {{.CPUCfsPeriod}}{{.Isolation}}", "info -f {{.HttpProxy}}", "info -f {{.ID␠1}}",
            "version -f {{.Foo}}", "version -f {{.Client.Foo}}", "version -f {{.Server.Foo}}", "version -f {{.Server.Platform}}{{.ServerOK}}", "version -f {{.Server.Platform.Foo}}", "version -f {{.Server.ApiVersion}}", "version -f {{range␠.Server.Components}}{{.Name}}{{.Foo}}{{end}}", "version -f {{.ServerOK␠1}}",
            "events --since 0 --until 1 --format {{.Foo}}", "events --since 0 --until 1 --format {{.Actor.Foo}}", "events --since 0 --until 1 --format {{.Type.Foo}}", "events --since 0 --until 1 --format {{.status}}", "events --since 0 --until 1 --format {{.Status}}{{.From}}{{.Scope}}{{.TimeNano}}{{.Actor.Attributes.foo}}",
            "images --format {{.Foo}}", "images --format table␠{{.Foo}} nosuch", "images --format {{json␠.}} busybox", "history --format {{.Foo}} hello-world", "history --format {{json␠.}} hello-world", "history --format {{ hello-world", "volume ls --format table␠{{.Foo}}", "network ls --format {{.Foo}}", "context ls --format {{.Foo}}",
            "system df --format {{.Foo}}", "system df --format {{", "system df -v --format table␠{{.Foo}}", "system df -v --format {{.Foo}}", "system df -v --format {{", "system df -v --format table␠x", "system df -v --format {{range␠.BuildCache}}{{.Foo}}{{end}}", "system df -v --format {{.Images␠1}}",
        )
    ),
    *(Case(f"ps -a --format {form}", (_RUN,)) for form in ("{{.Label}}", "{{.Label␠1}}", "{{.Names␠\"a\"}}", "{{with␠.Names}}{{.Foo}}{{end}}", "table\\t{{.Names}}", "table{{.Names}}", "table␠{{.Label␠\"com.foo.a-b\"}}", "␠{{.Names}}␠")),
    Case("stats --no-stream --format {{.Foo}}", (_RUN,), requests=False),
    Case("system df -v --format {{json␠.Volumes}}", (_VOLUME,)),
    Case("system df -v --format {{range␠.Volumes}}{{.Foo}}{{end}}", (_VOLUME,)),
    # how templates go wrong
    *(
        Case(f"ps -a --format {form}", (_RUN,))
        for form in (
            "{{.Names.}}", "{{..}}", "{{.Names}", "{{.Na-mes}}", "{{|}}", "{{.Names|}}", "{{.Names||.ID}}", "{{$x}}", "{{nil}}", "{{1␠2}}", "{{\"a\"␠\"b\"}}", "{{'a}}", "{{/*␠a}}", "{{/*␠a␠*/␠b}}", "{{$x,␠$y␠:=␠.Names}}", "{{$x␠=␠.Names}}", "{{break}}", "{{json}}", "{{json␠.␠.}}", "{{split␠.Names}}", "{{join␠.Names␠\"n\"}}", "{{pad␠.Names}}", "{{truncate␠.Names␠\"x\"}}", "{{printf}}", "{{printf␠\"%d\"␠.Names}}", "{{html␠\"<a>\"}}", "{{urlquery␠\"a␠b\"}}", "{{js␠\"a'b\"}}", "{{call␠.Names}}", "{{lt␠.Names}}", "{{not}}", "{{and}}", "{{index␠.Names␠0}}", "{{slice␠.Names␠1}}", "{{title␠1}}", "{{lower␠.Names␠1}}", "{{range␠.Names}}x{{end}}", "{{define␠\"x\"}}a{{end}}{{template␠\"x\"}}", "{{template␠\"x\"}}", "{{block␠\"x\"␠.}}a{{end}}", "{{block␠\"x\"}}{{end}}", "{{define␠x}}{{end}}",
        )
    ),
    *(
        Case(f"inspect -f {form} one", (_RUN,))
        for form in (
            "{{.State.Pid.Foo}}", "{{.Args.Foo}}", "{{.HostConfig.Binds.Foo}}", "{{upper␠.Config}}", "{{lower␠nil}}", "{{range␠.Path}}{{end}}", "{{range␠$k,␠$v␠:=␠.Config}}{{$k}}␠{{break}}{{end}}", "{{range␠.Config.Env}}{{continue}}x{{end}}", "{{join␠.Config.Env␠\"␠\"}}", "{{template␠\"x\"␠.}}{{define␠\"x\"}}{{.Path}}{{end}}", "{{html␠.Config.Cmd}}␠{{js␠.State.Running}}␠{{urlquery␠.Path}}",
        )
    ),
    # things of several kinds
    *(Case(line, (_VOLUME, _NETWORK)) for line in ("inspect --format {{.Name}} vol net nosuch", "inspect --format {{.Id}} vol net", "inspect --format {{.Id}} nosuch1 vol nosuch2 net", "inspect --type volume vol net", "inspect vol nosuch busybox")),
    Case("inspect --format {{.Name}} one busybox", (_RUN, "volume create one")),
    Case("inspect -s -f {{.Id}} busybox"),
    # times that are none, or hardly
    *(
        Case(f"events --since {text} --until 1")
        for text in ("-5", "2020-2-1", "2020-02-30", "2020-02-01T24:00", "2020-02-01␠10:00", "2020-02-01T10:00:00+25:00", "2020-02-01T10:00:00+2500", "2020-02-01T10:00:00z", "2020-02-01T10:00:00Zfoo", "2020-02-01T10:00:00.1234567891", "2020-02-01T1", "2020-02-01-02:00", "20200201", "0001-01-01", "1.2.3", "99999999999999999999", "␀")
    ),
    *(Case(f"logs {text} one", (_RUN,)) for text in ("--since -5", "--until -5", "--since 99999999999999999999", "--since 2020-01-01T00:00:00+99:99", "--since 1h")),
    Case("container prune -f --filter until=2020-13-01"),
    Case("network prune -f --filter until=2020-02-01T99"),
)  # fmt: skip
