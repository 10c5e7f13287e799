"""The command lines about files, images as archives, and what the engine keeps, that both clients must answer alike."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from docker_case import Case

__all__ = ["CASES"]

_ONE = "create --name one busybox sh -c sleep␠1000"
_FILES = (_ONE, "cp tree one:/tree", "cp f one:/f")
_RUN = "run -d --name one busybox sleep 1000"
_LINKS = (
    "run --name one busybox sh -c mkdir␠/d;echo␠x␠>/d/x;ln␠-s␠/d␠/dl;ln␠-s␠x␠/d/xl;ln␠-s␠nowhere␠/broken;ln␠/d/x␠/d/hard;chmod␠4755␠/d/x",
)

CASES: tuple[Case, ...] = (
    # wrong lines
    *(
        Case(line)
        for line in (
            "cp", "cp a", "cp a b", "cp a: b:", "cp ␀ a:b", "cp one: ␀", "cp one:/etc nosuch/x", "cp nosuch:/etc x", "cp f nosuch:/x",
            "cp nofile one:/x", "cp one:/x /dev/null", "cp -x a b", "container cp a", "diff", "diff a b", "diff nosuch", "diff ␀", "commit", "commit a b c",
            "commit nosuch", "commit a Foo", "commit a a@sha256:0000000000000000000000000000000000000000000000000000000000000000", "export", "export nosuch",
            "export -o nodir/x one", "save", "save nosuch", "save -o nodir/x busybox", "save Foo", "save -o x nosuch", "load x", "load -i nofile", "load -i f", "import",
            "import nofile", "import f Foo", "import f", "update", "update one", "update -m 64m", "update -m 64m nosuch", "update --restart a:b x", "update --restart foo nosuch",
            "stats nosuch --no-stream", "stats --foo", "search", "search a b", "search a://b", "search --limit x a", "volume", "volume foo", "volume create a b", "volume create --name a b",
            "volume create --label = x", "volume create --label a␠b x", "volume create -d nosuch x", "volume create a/b", "volume rm", "volume rm nosuch", "volume rm -f nosuch", "volume inspect", "volume inspect nosuch",
            "volume ls x", "volume ls -f foo", "volume ls -f foo=bar", "volume ls -f dangling=maybe", "network", "network foo", "network create", "network create a b", "network create --subnet foo x",
            "network create --gateway 10.0.0.1 x", "network create --subnet 10.91.0.0/16 --gateway 10.92.0.1 x", "network create --subnet 10.91.0.0/16 --ip-range 10.92.0.0/24 x",
            "network create --subnet 10.91.0.0/16 --subnet 10.91.1.0/24 x", "network create --subnet 10.91.0.0/16,10.93.0.0/16 --gateway 10.91.0.1,10.91.0.2 x",
            "network create --subnet 10.91.0.0/16,10.93.0.0/16 --ip-range 10.91.0.0/24,10.91.1.0/24 x", "network create --subnet 10.91.0.0/16 --aux-address a=10.92.0.1 x",
            "network create --subnet 10.91.0.0/16 --gateway foo x", "network create --subnet 10.91.0.0/16 --ip-range 10.91.0.0/x x",
            "network create bridge", "network create -d nosuch x", "network create --scope foo x", "network rm", "network rm nosuch", "network rm bridge", "network rm nosuch bridge", "network connect a", "network connect bridge nosuch",
            "network connect nosuch nosuch", "network connect --driver-opt a b c", "network connect --link a:b:c d e", "network disconnect", "network disconnect bridge nosuch", "network inspect nosuch", "network inspect",
            "network ls x", "network ls -f foo=bar", "network ls -f driver=bridge -q", "container prune x", "image prune -f x", "container prune -f --filter foo=bar", "volume prune -f --filter until=1h",
            "system", "system foo", "system df x", "system prune -f x", "system prune --volumes --filter until=1h", "system df --format {{.Foo}}", "context", "-H a -H b ps", "-c nosuch ps", "-c a -H b ps", "--log-level foo ps",
            "run --gpus foo busybox", "run --gpus a=b busybox", "run --rm --gpus all busybox true", "create --gpus device=1 busybox", 'create --gpus "device=1,2",capabilities=x busybox', "create --gpus 2,count=3 busybox",
        )
    ),
    Case("--foo ps", explained="the help that follows is in our own words"),
    # cp into a container
    *(
        Case(line, (_ONE,))
        for line in (
            "cp f one:/", "cp f one:/new", "cp f one:/tmp", "cp f one:/tmp/", "cp f one:/new/", "cp tree one:/tmp", "cp tree one:/new", "cp tree/. one:/tmp", "cp tree/ one:/tmp", "cp ./tree/b one:/tmp/x",
            "cp flink one:/tmp", "cp -L flink one:/tmp", "cp treelink one:/tmp", "cp treelink/ one:/tmp", "cp treelink/. one:/tmp", "cp -L treelink one:/tmp", "cp -a tree one:/tmp", "cp f one:tmp/x", "cp . one:/tmp",
            "cp empty one:/tmp", "cp tree one:/etc/passwd", "cp f one:/etc", "cp f one:/nodir/x", "cp tree one:/nodir/x", "cp f/ one:/tmp", "cp nofile one:/tmp", "cp tree/nofile one:/tmp", "cp f one:/dev/null",
            "container cp f one:/tmp", "cp some.tar one:/tmp", "cp f /one:/tmp",
        )
    ),
    Case("cp - one:/tmp", (_ONE,), stdin=b""),
    Case("cp - one:/etc/passwd", (_ONE,), stdin=b""),
    Case("cp - one:/nosuch", (_ONE,), stdin=b""),
    Case("cp - one:/tmp", (_ONE,), stdin=b"this is no archive"),
    # cp out of a container
    *(
        Case(line, _FILES, requests=not line.endswith("-"))
        for line in (
            "cp one:/f x", "cp one:/f empty", "cp one:/f empty/", "cp one:/f empty/x", "cp one:/f f", "cp one:/f tree", "cp one:/f nodir/", "cp one:/f nodir/x", "cp one:/tree x", "cp one:/tree empty", "cp one:/tree/. empty",
            "cp one:/tree/ empty", "cp one:/tree f", "cp one:tree x", "cp one:/tree/b/c .", "cp one:/tree/link x", "cp -L one:/tree/link x", "cp one:/nosuch x", "cp one:/f flink", "cp one:/tree treelink", "cp one:/tree tree", "cp -a one:/tree x",
            "cp one:/f /dev/zero", "cp one:/f/ x",
        )
    ),
    *(
        Case(line, _LINKS)
        for line in (
            "cp one:/d x", "cp one:/dl x", "cp one:/dl/ x", "cp one:/dl/. x", "cp -L one:/dl x", "cp -L one:/d/xl x", "cp one:/d/xl x", "cp one:/broken x", "cp -L one:/broken x", "cp f one:/dl", "cp f one:/broken", "cp f one:/d/xl", "cp one:/d/x empty",
            "cp tree one:/dl", "cp f one:/dl/new",
        )
    ),
    Case("diff one", ("run --name one busybox sh -c echo␠a␠>/etc/passwd;touch␠/new;rm␠/etc/group",)),
    Case("container diff one", (_ONE,)),
    Case("commit one", (_RUN,), requests=True),
    Case("commit -p=false -a me -m said -c ENV␠A=1 -c CMD␠x one new:tag", (_RUN,)),
    Case("container commit one new", (_ONE,)),
    Case("export -o x.bin one", (_ONE,), files=False),
    Case("save -o x.bin busybox hello-world", files=False),
    Case("save -o empty busybox"),
    Case("load -i x.tar", ("save -o x.tar hello-world", "rmi hello-world"), files=False),
    Case("load -q -i x.tar", ("save -o x.tar hello-world",), files=False),
    Case("image load -i x.tar", ("tag hello-world other:one", "save -o x.tar other:one", "rmi other:one"), files=False),
    Case("load", stdin=b"this is no archive"),
    Case("load", stdin=b""),
    Case("import some.tar new:tag"),
    Case("import -m said -c ENV␠A=1 --change CMD␠x some.tar"),
    Case("import - new", stdin=b"this is no archive"),
    Case("import http://127.0.0.1:1/x new"),
    *(
        Case(line, (_RUN,))
        for line in (
            "update -m 64m --memory-swap -1 one", "update --cpu-shares 5 --cpus 1.5 --pids-limit 10 --restart always one", "update --cpus 1 nosuch one", "update --restart on-failure:3 one", "update --memory 1k one", "container update --cpuset-cpus 0 one",
            "container prune -f", "container prune", "container stats --no-stream --format {{.Name}}|{{.Container}}|{{.PIDs}} one", "stats --no-stream --format table␠{{.Name}}\\t{{.PIDs}}", "stats --no-stream --no-trunc --format {{.ID}}", "stats -a --no-stream --format {{.Foo}}",
            "network connect bridge one", "network disconnect bridge one", "network disconnect -f bridge one", "network disconnect host one", "network rm bridge one", "network connect host one", "network inspect -f {{.Name}} bridge one", "network inspect -v -f {{.Driver}} none",
            "ps --format raw", "ps --format raw -q", "ps -s --format raw --no-trunc",
        )
    ),
    Case("container prune", ("create --name one busybox", "create --name two busybox"), stdin=b"y\n", unordered=True),
    Case("container prune", ("create --name one busybox",), stdin=b"Y"),
    Case("container prune", ("create --name one busybox",), stdin=b"yes\n"),
    Case("container prune", ("create --name one busybox",), stdin=b""),
    Case("container prune -f --filter until=1h --filter label=a", ("create --name one busybox",)),
    Case("container prune -f", ("create --name one busybox",), config={"pruneFilters": ["label=a", "until=1h", "wrong"]}),
    Case("container prune -f --filter label!=a", ("create --name one busybox",), config={"pruneFilters": ["label=a"]}),
    Case("image prune", stdin=b"n\n"),
    Case("image prune -a", stdin=b"\n"),
    Case("image prune -f", ("create --name one busybox", "commit one", "rm one")),
    Case("image prune -af --filter label=nosuch"),
    Case("volume prune", ("volume create a", "volume create b"), stdin=b"y\n", unordered=True),
    Case("volume prune -f --filter label=x", ("volume create a", "volume create --label x b")),
    Case("network prune", ("network create a",), stdin=b"y\n"),
    Case("network prune -f", ("network create a", "network create b"), unordered=True),
    Case("network prune", stdin=b"n"),
    Case("system prune", ("create --name one busybox", "network create a"), stdin=b"y\n"),
    Case("system prune", stdin=b"n\n"),
    Case("system prune -a --volumes --filter label=x --filter label!=y", stdin=b"n\n"),
    Case("system prune --filter until=10m --filter label=node10 --filter label=node2", stdin=b"n\n"),
    Case("system prune -f --volumes", ("create --name one -v /v busybox", "volume create a", "network create a"), unordered=True),
    *(
        Case(line, ("create --name one -v vol:/v busybox true", "run -d --name two busybox sleep 100", "volume create --label a=b other"), unordered="Labels" in line)
        for line in (
            "system df", "system df -v", "system df --format {{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Reclaimable}}", "system df --format raw", "system df --format table␠{{.Type}}\\t{{.Size}}", "system df -v --format {{range␠.Images}}{{.Repository}}␠{{end}}{{range␠.Volumes}}{{.Name}}␠{{end}}",
            "system df -v --format {{range␠.Containers}}{{.Names}}{{end}}", "system df --format {{json␠.}}", "volume ls", "volume ls -q", "volume list", "volume ls -f name=vol", "volume ls -f dangling=true", "volume ls -f label=a=b", "volume ls --format {{.Name}}|{{.Driver}}|{{.Scope}}|{{.Labels}}|{{.Links}}|{{.Size}}",
            "volume ls --format raw", "volume ls --format raw -q", "volume ls --format {{json␠.}}", "volume ls --format table␠{{.Name}}\\t{{.Label␠\"a\"}}", "volume ls --format {{.Foo}}", "volume inspect -f {{.Name}}:{{.Scope}} vol other nosuch", "volume rm other", "volume rm vol", "volume rm vol other nosuch", "volume rm -f vol", "volume remove other", "system prune -f",
        )
    ),
    *(
        Case(line)
        for line in (
            "volume create", "volume create one", "volume create --name one", "volume create -d local -o type=tmpfs -o device=tmpfs --label a=b --label c one", "volume create -o foo=bar one",
            "network ls", "network ls -q", "network ls --no-trunc --filter name=bridge", "network list -f driver=host", "network ls --format {{.Name}}|{{.ID}}|{{.Scope}}|{{.IPv6}}|{{.Internal}}|{{.Labels}}", "network ls --format raw", "network ls --format raw -q", "network ls --format {{json␠.}}",
            "network ls --format table␠{{.Name}}\\t{{.CreatedAt}}", "network ls --format {{.Foo}}", "network create one", "network create -d bridge --internal --attachable --label a=b --label c -o com.docker.network.bridge.name=sixtest --subnet 10.94.0.0/16 --ip-range 10.94.5.0/24 --gateway 10.94.0.9 --aux-address a=10.94.0.3 --ipam-opt x=y one",
            "network create --subnet 10.94.0.0/16 --subnet 10.95.0.0/16 one", "network create --ipv6 --subnet fd00:94::/64 --subnet 10.94.0.0/16 one", "network create --config-only --subnet 10.94.0.0/16 one", "network create --ingress one", "network create --config-from nosuch one", "images --format raw", "images --format raw -q", "images --digests --format raw hello-world", "images --digests --format table␠{{.ID}} busybox",
            "system events --since 1 --until 2",
        )
    ),
    Case("network create one", ("network create one",)),
    Case("network rm one two", ("network create one", "network create two")),
    Case("network remove one", ("network create one", "run -d --name c --network one busybox sleep 100"), requests=False),
    Case("network connect --ip 10.94.0.7 --alias a,b --link two:t --driver-opt x=y --link-local-ip 169.254.7.7 one one", (_RUN, "network create --subnet 10.94.0.0/16 one", "create --name two busybox")),
    Case("network connect one one", (_RUN, "network create one", "network connect one one")),
    Case("network connect --ip 10.200.0.7 one one", (_RUN, "network create --subnet 10.94.0.0/16 one")),
    Case("network disconnect one one", (_RUN, "network create one", "network connect one one")),
    Case("volume ls", config={"volumesFormat": "{{.Name}}!"}, before=("volume create a",)),
    Case("volume ls -q", config={"volumesFormat": "{{.Name}}!"}, before=("volume create a",)),
    Case("network ls", config={"networksFormat": "{{.Name}}!"}),
    Case("stats --no-stream", (_RUN,), config={"statsFormat": "{{.Name}}!"}),
    Case("save busybox", stdin=b"", files=False, requests=False),
)  # fmt: skip
