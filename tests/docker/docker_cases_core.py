"""The command lines of a container's life, of images and of the engine that both clients must answer alike."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from docker_case import Case

__all__ = ["CASES"]

_RUN = "run -d --name one busybox sleep 1000"

CASES: tuple[Case, ...] = (
    # the command line itself
    *(
        Case(line)
        for line in (
            "foo", "run", "run --foo x", "run -Z x", "run -e", "run --env", "run -m 1z x", "run --memory=1q x",
            "run -m 1.5g --bad x", "ps extra", "inspect", "rm", "start", "stop", "kill", "wait", "pause", "unpause",
            "restart", "logs", "exec", "exec a", "tag a", "rename a", "port", "port a b c", "top", "images a b",
            "events x", "history", "rmi", "attach", "create", "pull", "run --cpus a x", "run --cpus 0.0000000001 x",
            "run --pids-limit a x", "run --pids-limit 99999999999999999999 x", "run -it=maybe x",
            "run --restart foo:bar x", "run --restart a:1:2 x", "run -p 80:90:100:200 x", "run -p a x",
            "run -p 70000:1 x", "run -p 1-2:3-5 x", "run -p 1:2/foo x", "run --expose a x", "run --expose 1:2 x",
            "run --mount type=foo x", "run --mount foo x", "run --mount type=bind,target=/a,foo=bar x",
            "run --mount type=tmpfs,target=/a,volume-nocopy=true x", "run --mount type=bind,target=/a,ro=x x",
            "run --health-interval 3 x", "run --health-interval 3y x", "run --health-interval=-1s x",
            "run --health-retries=-1 x", "run --no-healthcheck --health-cmd a x", "run --rm --restart always x",
            "run -d -a stdout busybox", "run -a foo x", "run Foo", "run a:b:c", "pull Foo", "pull a@b", "pull -a a:b",
            "ps -f foo", "ps --format", "stop -t a b", "inspect --type foo x", "create --ulimit foo x",
            "create --ulimit foo=1 x", "create --ulimit nofile=2:1 x", "create --ulimit nofile=a x",
            "create --ulimit nofile=1:2:3 x", "create --env-file nofile x", "create --label-file nofile x",
            "create --security-opt seccomp=nofile x", "create --security-opt foo x", "create --stop-timeout x y",
            "create --entrypoint", "create --add-host foo x", "create --add-host a:b x", "create --dns foo x",
            "create --dns-search -- x", "create --mac-address foo x", "create --memory-swappiness 101 x",
            "create --pid foo x", "create --uts foo x", "create --userns foo x", "create --cgroupns foo x",
            "create --device-cgroup-rule foo x", "create --device-read-bps foo x", "create --device-read-bps /a:1 x",
            "create --device-read-bps /dev/a:x x", "create --device-read-iops /dev/a:x x", "create --link a:b:c x",
            "create --blkio-weight 70000 x", "create --blkio-weight-device /dev/a:1 x", "create --storage-opt a x",
            "create --log-driver none --log-opt a=b x", "create -e = x", "create --network name= x",
            "create --network foo=bar x", "create --network a --network host x", "create --network host --network-alias a x",
            "create --device foo x", "create --platform a/b/c/d x", "create --sysctl a=b --foo x", "run --- x",
            "run --=a x", "help foo", "container run", "container ls x", "image ls a b", "image rm",
            "container inspect", "image inspect", "system info x", "version x", "info x", "events --format {{.Foo",
            "version --format {{.Foo", "info --format {{.Foo", "inspect --format {{.Foo x", "ps --format {{.Foo",
            "run -it busybox", "create --volume-driver", "ps -n a", "logs --tail", "rmi Foo", "tag Foo bar", "tag busybox Foo",
        )
    ),
    Case("-H", explained="the help that follows is in words of our own, and names the commands that are there"),
    *(Case(line, environment={"DOCKER_HOST": "unix:///nowhere.sock"}) for line in ("ps", "run x", "images", "version -f {{.Server}}", "kill a b", "info -f {{.ID}}", "rm -f a", "exec a b", "logs a")),
    *(Case("ps", environment={"DOCKER_HOST": host}) for host in ("tcp://127.0.0.1:1", "unix:///proc/version", "foo://bar")),
    # run
    Case("run --rm hello-world"),
    Case("run hello-world"),
    Case("run --rm -i busybox cat", stdin=b"through\n"),
    Case("run --rm busybox cat", stdin=b"nobody reads this\n"),
    Case("run --rm busybox sh -c echo␠out;echo␠err␠>&2;exit␠42"),
    Case("run --rm busybox nosuch"),
    Case("run busybox nosuch"),
    Case("run --rm busybox /bin"),
    Case("run -d busybox nosuch", requests=False),
    Case("run --rm -w nowhere busybox true"),
    Case("run -d busybox sleep 100", requests=False),
    Case("run -d --rm busybox sleep 100", requests=False),
    Case("run --name one busybox true", (_RUN,)),
    Case("run --rm -t busybox sh -c tty;echo␠x"),
    Case("run --rm -a stderr busybox sh -c echo␠out;echo␠err␠>&2"),
    Case("run --rm -a stdout -a stdin busybox cat", stdin=b"x"),
    Case("run --rm -e A=1 -e ONE -e NOWHERE --env-file env busybox env", unordered=True),
    Case("run --rm --entrypoint echo busybox a b"),
    Case("run --rm --entrypoint= busybox echo a"),
    Case("run --rm -u 1000:1000 busybox id"),
    Case("run --rm -w /tmp -h box busybox sh -c hostname;pwd"),
    Case("run --rm --read-only --tmpfs /tmp:size=1m busybox sh -c touch␠/a;touch␠/tmp/a"),
    Case("run --rm --cidfile cid --pull never busybox true"),
    Case("run --rm --cidfile env busybox true"),
    Case("run --rm --pull never nosuch"),
    Case("run --rm --oom-kill-disable busybox true"),
    Case("run --rm --dns 127.0.0.1 busybox true"),
    Case("run --rm --network none --privileged --init busybox ps"),
    Case("run --rm --network nosuch busybox true"),
    Case("run --rm --memory 1k busybox true"),
    Case("run --rm --sig-proxy=false busybox true"),
    # what create asks for
    *(
        Case(f"create {line} busybox true")
        for line in (
            "", "-it", "-i", "-a stdin", "-v /tmp:/t:ro -v /vol", "-v ./x:/y", "--mount type=bind,src=/tmp,dst=/t,readonly",
            "--mount type=volume,src=v,dst=/t,volume-opt=a=b,volume-label=c=d,volume-nocopy",
            "--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700", "--mount type=bind,src=.,dst=/t,bind-propagation=rslave",
            "-p 80", "-p 8080:80", "-p 127.0.0.1:8080:80/udp", "-p 8000-8002:80-82", "-p 8000-8010:80", "-p [::1]:80:81",
            "-p target=80,published=8080,protocol=udp", "--expose 1000-1002 -P", "-m 64m --memory-swap -1 --cpus 1.5 --pids-limit 10",
            "--memory-reservation 32m --shm-size 1g --kernel-memory 0", "--cpu-shares 5 --cpu-period 10000 --cpu-quota 5000 --cpuset-cpus 0",
            "--cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --security-opt apparmor:unconfined",
            "--security-opt systempaths=unconfined --security-opt seccomp=unconfined", "--restart on-failure:3", "--restart always",
            "-l a=b --label c", "--log-driver json-file --log-opt max-size=1m", "--ulimit nofile=10:20 --ulimit core=0",
            "--sysctl net.ipv4.ip_forward=1", "--device /dev/null --device /dev/zero:/dev/z:r", "--stop-signal INT --stop-timeout 3",
            "--health-cmd true --health-interval 3s --health-retries 2 --health-timeout 1m --health-start-period 1h",
            "--no-healthcheck", "--network host", "--net none", "--network bridge --ip 172.17.0.9", "--network name=host",
            "--hostname h --domainname d --user u --workdir /w", "--add-host a:1.2.3.4 --dns 8.8.8.8 --dns-search a.b --dns-opt ndots:1",
            "--group-add 5 --oom-score-adj 5 --ipc host --pid host --uts host --userns host --cgroupns host",
            "--init=false --privileged --publish-all --read-only", "--tmpfs /a --tmpfs /b:size=1m", "--entrypoint a",
            "--link-local-ip 169.254.1.1", "--volumes-from one", "--volume-driver local", "--runtime runc", "--isolation default",
            "--mac-address 02:42:ac:11:00:09", "--blkio-weight 10 --device-write-bps /dev/null:1m --device-read-iops /dev/null:5",
            "--platform linux/amd64", "--cgroup-parent /x", "--name made --rm", "--env-file env -e Z", "--device-cgroup-rule c␠1:3␠mr",
            "--memory-swappiness 50 --cpuset-mems 0 --cpu-rt-period 5 --cpu-rt-runtime 4", "--storage-opt size=1G",
        )
    ),
    # containers that exist
    *(
        Case(line, (_RUN,))
        for line in (
            "ps", "ps -q", "ps -a --no-trunc", "ps -s", "ps -l", "ps -n 1", "ps -f name=one", "ps -f status=exited", "ps -f foo=bar",
            "ps --format {{.Names}}:{{.Image}}", "ps --format table␠{{.Names}}\\t{{.Status}}", "ps --format {{json␠.Names}}",
            "ps --format {{.Label␠\"a\"}}", "ps --format {{.Foo}}", "ps --format {{upper␠.Names}}|{{.Command}}|{{.State}}",
            "container ls", "container ps -q", "container list -a", "stop -t 0 one", "kill one", "kill -s TERM one", "kill -s FOO one",
            "rm one", "rm -f one", "rm -fv /one", "pause one", "restart -t 0 one", "rename one two", "rename one one", "exec one echo a",
            "exec one sh -c exit␠3", "exec -d one true", "exec -i one cat", "exec -e A=1 -u 1 -w /tmp one sh -c echo␠$A;id;pwd",
            "exec one nosuch", "exec -it one sh", "exec -t one tty", "exec -w nowhere one true", "exec --env-file env one env", "top one", "top one -o pid,comm",
            "logs one", "port one", "port one 80", "port one a", "start one", "inspect --format {{.Name}} one", "inspect -f {{json␠.Config.Cmd}} one",
            "inspect -f {{.State.Running}}|{{.HostConfig.Binds}}|{{.Config.Labels}} one", "inspect -f {{.Foo}} one", "inspect -f {{.Id one",
            "inspect -f {{range␠.Config.Cmd}}<{{.}}>{{end}} one", "inspect -f {{index␠.Config.Cmd␠0}} one", "inspect -f {{index␠.Config.Cmd␠9}} one",
            "inspect -f {{if␠.State.Running}}yes{{else}}no{{end}} one", "inspect -f {{len␠.Config.Env}} one", "inspect -f {{println␠.Name␠.Driver}} one",
            "inspect -f {{range␠$k,$v:=.NetworkSettings.Networks}}{{$k}}{{end}} one", "inspect -f {{.Config.Cmd}} one", "inspect -f {{foo␠.Name}} one",
            "inspect nosuch one -f {{.Name}}", "inspect --type image one", "inspect --type container one nosuch -f {{.Name}}", "container inspect -f {{.Name}} one",
            "inspect -f {{printf␠\"%s-%d\"␠.Name␠.RestartCount}} one", "inspect -f {{.NetworkSettings.Ports}}{{.HostConfig.Memory}} one", "wait nosuch",
            "inspect -f {{.HostConfig.PidsLimit}}|{{.HostConfig.LogConfig.Config}}|{{.Mounts}} one", "inspect -f {{.State}} one",
            "rm nosuch one", "stop -t 0 nosuch one", "kill nosuch one", "logs nosuch", "start nosuch", "attach nosuch", "restart nosuch", "pause nosuch", "unpause one",
            "rename nosuch two", "top nosuch", "port nosuch", "exec nosuch true", "rm -f nosuch", "rm /", "run --rm --volumes-from one busybox true",
        )
    ),
    Case("unpause one", (_RUN, "pause one")),
    Case("exec one true", (_RUN, "pause one")),
    Case("attach one", (_RUN, "pause one"), requests=False),
    Case("ps -a", (_RUN, "pause one")),
    Case("attach one", ("create --name one busybox true",)),
    Case("logs one", ("run --name one busybox sh -c echo␠out;echo␠err␠>&2",)),
    Case("logs -t -n 1 one", ("run --name one busybox sh -c echo␠out;echo␠two",)),
    Case("logs --tail 1 one", ("run --name one busybox sh -c echo␠out;echo␠two",)),
    Case("logs --since 1h one", ("run --name one busybox echo a",), requests=False),
    Case("logs --since 2013-01-02T13:23:37Z --until 2013-01-03 one", ("run --name one busybox echo a",)),
    Case("logs --since foo one", ("run --name one busybox echo a",)),
    Case("logs -f --details one", ("run --name one -t busybox echo a",)),
    Case("wait one", ("run --name one busybox sh -c exit␠7",)),
    Case("start one", ("create --name one busybox true",)),
    Case("start -a one", ("create --name one busybox sh -c echo␠a;exit␠3",)),
    Case("start -ai one", ("create -i --name one busybox cat",), stdin=b"typed"),
    Case("start -a one", ("create --rm --name one busybox sh -c echo␠a;exit␠3",)),
    Case("start -a one", ("create --name one busybox nosuch",)),
    Case("start one", ("create --name one busybox nosuch",)),
    Case("start -a one two", ("create --name one busybox nosuch",)),
    Case("start one two", ("create --name one busybox true", "create --name two busybox true")),
    Case("rm one two", ("create --name one busybox true", "create --name two busybox true")),
    Case("attach one", ("run -d --name one busybox sh -c sleep␠1;exit␠5",)),
    Case("attach --no-stdin one", ("run -di --name one busybox sh -c sleep␠1;exit␠5",)),
    # without the pause the engine itself sometimes loses output of a program that ends right behind it
    Case("attach one", ("run -di --name one busybox sh -c read␠a;sleep␠0.3;echo␠$a;exit␠5",), stdin=b"typed\n"),
    Case("port one", ("run -d --name one -p 127.0.0.1:18080:80 -p 127.0.0.1:18081:81 busybox sleep 100",), unordered=True),
    Case("port one 80", ("run -d --name one -p 127.0.0.1:18080:80 busybox sleep 100",)),
    Case("ps", ("run -d --name one -p 127.0.0.1:18080:80 -p 127.0.0.1:9000-9002:9000-9002 --expose 7 busybox sleep 100",)),
    Case("ps -a", ("create --name one -l a=b -v /v busybox true", "create --name two hello-world")),
    Case("ps -a --format {{.Labels}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}} -f name=one", ("create --name one -l a=b busybox true",)),
    # images and the engine
    *(
        Case(line, unordered=line.startswith("image"))
        for line in (
            "images", "images -q", "images -a --no-trunc", "images --digests", "images busy*", "images nosuch", "images -f dangling=true",
            "images -f foo=bar", "images --format {{.Repository}}:{{.Tag}}", "images --format table␠{{.ID}}\\t{{.Size}}", "image ls busybox",
            "images --format {{.CreatedAt}}|{{.CreatedSince}}|{{.VirtualSize}}|{{.SharedSize}}|{{.Containers}}|{{.Digest}} busybox",
            "history busybox", "history -q busybox", "history --no-trunc hello-world", "history -H=false busybox", "history nosuch", "history --format {{.Comment}} busybox",
            "rmi nosuch", "rmi -f nosuch", "rmi nosuch nosuch2", "image rm nosuch", "tag nosuch a", "inspect --type image -f {{.Os}}/{{.Architecture}} busybox",
            "image inspect -f {{json␠.Config.Cmd}} busybox", "image inspect nosuch", "inspect nosuch", "inspect -f {{.Id}} nosuch", "inspect --type network -f {{.Name}} bridge",
            "inspect --type volume nosuch", "inspect --type network nosuch", "inspect busybox", "info", "info -f {{.OSType}}|{{.NCPU}}|{{.Driver}}", "system info",
            "version -f {{.Server.Version}}|{{.Server.APIVersion}}", "version -f {{.Client.APIVersion}}", "events --since 1 --until 2", "events --since foo", "pull -q nosuch", "pull nosuch",
            "pull hello-world", "pull -q hello-world", "pull hello-world:nosuch", "run --rm --pull always hello-world", "pull -a busybox", "create nosuch", "run --rm nosuch",
            "push Foo", "push nosuch", "run --rm 0123456789012345678901234567890123456789012345678901234567890123",
        )
    ),
    Case("rmi other:tag", ("tag busybox other:tag",)),
    Case("tag busybox other:tag",),
    Case("run --rm hello-world", ("rmi -f hello-world",)),
    Case("pull hello-world", ("rmi -f hello-world",)),
    Case("create hello-world", ("rmi -f hello-world",)),
)  # fmt: skip
