"""The command lines with the options that the other lists leave out, so that every option of every command is compared."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from docker_case import Case, Keys

__all__ = ["CASES"]

_RUN = "run -d --name one busybox sleep 1000"
_SHELL = "run -dit --name one busybox sh"
_MADE = "context create made --docker host=unix://@SOCKET"
_NO_HOST: dict[str, str | None] = {"DOCKER_HOST": None}
_SIX = "network create --ipv6 --subnet fd00:94::/64 --subnet 10.94.0.0/16 six"

CASES: tuple[Case, ...] = (
    *(
        Case(f"create {line} busybox true")
        for line in (
            "--device-write-iops /dev/null:5 --device-read-bps /dev/null:1k", "--dns-option ndots:1 --dns-opt timeout:2", "--ip6 fd00::9", "--net-alias a --network-alias b --network somewhere", "--disable-content-trust", "--disable-content-trust=true", "--device-write-iops /dev/null:x",
            "--ip foo", "--ip6 10.0.0.1", "--ip 10.0.0.1 --network host", "--network a --ip 10.0.0.1 --network-alias x --link one:two", "--network name=a,alias=b,alias=c,driver-opt=d=e", "--network a --network b", "--network name=a,alias=b --network-alias c", "--network name=a,ip=1.2.3.4", "--network name=a,foo",
            "-p 80/sctp --expose 81/udp", "-p 8000-8001:80-81/udp --expose 9-8", "-p :80", "-p ::80", "-p 127.0.0.1::80", "-p [::]:8000-8001:80-81", "-p 1.2.3.4.5:80:80", "-p 80:70000", "-p 80:-1", "-p published=80", "-p target=80,mode=host", "-p target=80,mode=foo", "-p target=x", "-p target=80,published=8000-8001",
            "-v /a", "-v a:/b:ro,z", "-v a:b", "-v :/b", "-v /:/", "-v a:/b:foo", "-v a:/b:ro:rw", "--tmpfs a", "--tmpfs /a:foo", "--mount type=tmpfs", "--mount src=a", "--mount type=volume,dst=/a,ro=maybe", "--mount type=bind,dst=/a", "--mount type=npipe,src=a,dst=/b", "--mount dst=/a,volume-driver=x,volume-opt=a", "--mount dst=/a,dst=/b", "--mount type=tmpfs,dst=/a,tmpfs-mode=9", "--mount type=tmpfs,dst=/a,tmpfs-size=x",
            "-e A -e ONE -e B=", "--env-file config", "-l =a", "-l a=b=c", "--label-file env", "-m 4", "-m -1", "--memory-swap -1", "--memory-swap x", "--cpus -1", "--cpus 1/2", "--shm-size x", "--stop-timeout 0", "--stop-signal x", "--restart on-failure:-1", "--restart on-failure:x", "--restart no:3", "--restart unless-stopped", "--health-cmd a --health-timeout 1", "--pids-limit 0 --pids-limit -1",
            "--ulimit nofile=-1 --ulimit nproc=1:-1", "--ulimit nofile=", "--sysctl a", "--sysctl =a", "--storage-opt a=b --storage-opt a=c", "--log-opt a", "--log-driver json-file --log-opt max-file=2 --log-opt labels=a,b", "--group-add a --group-add 0", "--ipc container:x", "--ipc foo", "--pid container:x", "--pid container:", "--uts container:x", "--userns private", "--cgroupns private", "--isolation hyperv", "--runtime foo",
            "--device a:b:c", "--device /dev/null:rwm", "--device /dev/null:/dev/x:rwx", "--device /dev/null:/dev/x:rw:m", "--security-opt label=disable --security-opt no-new-privileges=false", "--security-opt seccomp=f", "--security-opt seccomp=config", "--add-host a:::1 --add-host b:[::1]", "--add-host a:", "--add-host :1.2.3.4", "--mac-address 0:1:2", "--domainname= --hostname a_b", "-h -x", "--platform linux", "--pull foo", "--pull=never nosuch", "--init --no-healthcheck -t -i -a stdin -a stdout -a stderr",
        )
    ),
    # options of commands on a container
    *(
        Case(line, (_RUN,))
        for line in (
            "update --blkio-weight 20 one", "update --cpu-period 10000 --cpu-quota 5000 one", "update --cpu-rt-period 10 --cpu-rt-runtime 5 one", "update --cpuset-mems 0 one", "update --kernel-memory 8m one", "update --memory-reservation 8m -m 16m --memory-swap 16m one", "update --restart foo one", "update --restart on-failure:x one", "update one", "update --cpus x one", "update --pids-limit 0 one", "update --blkio-weight 1 one",
            "exec --privileged one cat /proc/self/attr/current", "exec --detach-keys ctrl-x,x one true", "exec --detach-keys foo one true", "exec -e A -e ONE one env", "exec -e = one true", "exec -u nobody one id", "exec -u nosuch one id", "exec --env-file nofile one env", "exec -w relative one pwd", "exec -dt one true", "exec -d one nosuch", "exec one",
            "rm --link one/x", "rm --link one", "rm -l nosuch", "inspect -s -f {{.SizeRootFs}} one", "container inspect --size -f {{.SizeRw}}|{{.Name}} one", "inspect --type network one", "inspect -f {{.NoSuch.Deeper}} one", "inspect -f {{slice␠.Id␠0␠3}} --type container nosuch",
            "container ls -a --filter name=one --format {{.ID}} --no-trunc", "container ls -lq", "container ls -n 0", "container ls -n x", "container ls -s --format {{.Size}}", "ps -f status=foo", "ps -f health=foo", "ps -f exited=x", "ps -f ancestor=busybox -f label=a -q", "ps -f publish=x", "ps -f expose=80/foo", "ps -f before=nosuch", "ps -f network=nosuch -q", "ps -f is-task=x", "ps --format {{range}}", "ps --format table", "ps --format table␠{{.Nosuch}}",
            "port one 80/foo", "port one 99999", "logs --tail x one", "logs --tail -1 one", "logs --since 2024-13-01 one", "logs --until x one", "logs --since 0 --until 1 one", "top one -o nosuch", "kill -s 0 one", "kill -s 99 one", "kill --signal SIGSTOP one", "pause nosuch one", "unpause one nosuch", "restart -t x one", "wait one nosuch --foo", "rename one one", "rename one A/b", "rename one ␀", "cp one", "cp one:/a two:/b", "cp - one:/nosuch/", "cp one:/etc/hosts -a", "diff one two", "diff nosuch", "export one two", "export nosuch", "commit one a:b:c", "commit -m", "stats --no-stream nosuch", "stats nosuch", "container rename one", "container top nosuch", "container exec one true",
        )
    ),
    *(Case(line, (_RUN,), explained="docker reads the engine's refusal as a stream of output: Unrecognized input header: 73") for line in ("attach --detach-keys foo one", "start --detach-keys foo -a one")),
    Case("attach --detach-keys ctrl-x,x one", (_SHELL,), terminal=Keys(typed=((r"^", "\n"), (r"# ", "\x18x"))), requests=False),
    Case("exec -it --detach-keys ctrl-x,x one sh", (_SHELL,), terminal=Keys(typed=((r"# ", "\x18x"),)), requests=False),
    Case("run -it --rm --detach-keys ctrl-x,x busybox sh", terminal=Keys(typed=((r"# ", "\x18x"),)), requests=False),
    # images, the engine, networks
    *(
        Case(line, unordered=line.startswith("image"))
        for line in (
            "import --platform linux/arm64 some.tar new", "import --platform foo/bar some.tar", "import -c FOO some.tar", "import some.tar Foo", "import nofile", "import -m", "pull --platform linux/amd64 hello-world", "pull --platform foo/bar hello-world", "pull --platform linux/arm64 hello-world", "pull --disable-content-trust hello-world", "pull -a", "pull a b",
            "search --format {{.Name}} nosuch", "search --limit 200 nosuch", "search --limit x nosuch", "search -f foo=bar nosuch", "search", "search --no-trunc --format {{json␠.}} nosuch", "image ls -a --digests --no-trunc", "image ls -q -f reference=busy*", "image ls --format {{.Tag}}", "image ls -f before=nosuch", "image ls -f since=busybox -q", "image ls -f label=a", "images -f reference=[", "image rm -f --no-prune nosuch", "rmi --no-prune nosuch", "image rm Foo",
            "image inspect -f {{.Foo}} busybox", "image tag busybox a:b:c", "tag busybox Foo:bar", "tag busybox ␀", "save", "save nosuch", "save -o nodir/x busybox", "load -i nofile", "load -i f", "load -q -i env", "history -q --no-trunc=false busybox", "image history nosuch", "version --format {{json␠.Server.Os}}", "info --format {{json␠.Swarm.LocalNodeState}}",
            "events --since 1 --until 2 --filter type=container", "events --since 1 --until 2 -f foo=bar", "events --since 1 --until 2 --format {{json␠.}} -f event=start", "events --since x", "events -f foo", "system events --until x",
            "network create --ipam-driver default --ipam-opt a=b one", "network create --ipam-driver nosuch one", "network create --ipv6 one", "network create --gateway 10.94.0.1 one", "network create --ip-range 10.94.0.0/24 one", "network create --subnet 10.94.0.0/33 one", "network create --subnet 10.94.0.0/16 --gateway 10.95.0.1 one", "network create --aux-address a=b one", "network create -o a one", "network create a b", "network create --label", "network create A/b", "network create ␀", "network create --config-from nosuch one", "network create -d macvlan -o parent=nosuch one", "network create -d overlay one", "network create -d host one", "network create --scope swarm one", "network create none",
            "network prune -f --filter until=1h --filter label=x", "network prune -f --filter foo=bar", "network rm none host", "network connect", "network connect nosuch one", "network disconnect nosuch one", "network disconnect -f bridge", "network ls -f type=foo", "network ls -f scope=foo", "network ls -f id=nosuch", "network ls -f dangling=maybe", "network inspect -f {{.Foo}} bridge", "network inspect --foo bridge", "volume create -d nosuch one", "volume create A/b", "volume create a b", "volume create --name a b", "volume rm nosuch", "volume rm", "volume inspect nosuch", "volume ls -f foo=bar", "volume ls -f dangling=x", "volume prune -f --filter foo=bar", "image prune -f --filter foo=bar", "image prune -f --filter until=x", "container prune -f --filter until=x", "system prune -f --filter foo=bar",
        )
    ),
    Case("network connect --ip6 fd00:94::77 --ip 10.94.0.77 six one", (_RUN, _SIX)),
    Case("network connect --ip6 fd00:95::77 six one", (_RUN, _SIX)),
    Case("network rm six", (_SIX, "run -d --name one --network six busybox sleep 100")),
    Case("rm --link two/one", ("run -d --name one busybox sleep 100", "run -d --name two --link one:one busybox sleep 100")),
    Case("rmi --no-prune new", ("create --name one busybox", "commit one new", "rm one")),
    Case("image rm -f new busybox:nosuch", ("tag busybox new",)),
    # contexts
    Case("context update made --default-stack-orchestrator swarm", (_MADE,), environment=_NO_HOST),
    Case("context update made --default-stack-orchestrator foo", (_MADE,), environment=_NO_HOST),
    # what is left out on purpose
    *(
        Case(line, explained="not a command for running containers; the client says so", files=False)
        for line in ("build .", "buildx ls", "builder prune", "swarm init", "node ls", "service ls", "stack ls", "secret ls", "config ls", "plugin ls", "trust inspect x", "manifest inspect x", "checkpoint ls x")
    ),
    Case("pull --disable-content-trust=false hello-world", explained="signatures can't be looked at, so they are refused", files=False),
    *(Case(line, environment=_NO_HOST, explained="an endpoint of Kubernetes is refused") for line in ("context create other --kubernetes host=x --docker host=tcp://a:1", "version --kubeconfig x -f {{.Client.Version}}")),
)  # fmt: skip
