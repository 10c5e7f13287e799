"""config.toml: imports, plugins, what is refused, and what `containerd config` prints."""

import tomllib
from pathlib import Path

import pytest

from sixhops.containerd.main import main
from sixhops.containerd.settings import tomlwrite
from sixhops.containerd.settings.config import DEFAULTS, Config, ConfigError, Schedule, load, merged
from sixhops.containerd.settings.plugins import all_plugins, missing


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_make_the_default_settings(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", tomlwrite.dumps(DEFAULTS))

    assert load(path, {}) == Config()


def test_imports_are_laid_over_the_file(tmp_path: Path) -> None:
    write(
        tmp_path / "b.toml", 'version = 2\nroot = "/b"\ndisabled_plugins = ["io.b.x.v1"]\n[grpc]\nuid = 5\n'
    )
    write(tmp_path / "c.toml", 'version = 2\nimports = ["main.toml"]\nstate = "/c"\n')
    path = write(
        tmp_path / "main.toml",
        'version = 2\nimports = ["b.toml", "[c].to*"]\nroot = "/a"\ndisabled_plugins = ["io.a.x.v1"]\n[grpc]\ngid = 4\n',
    )

    config = load(path, {})

    assert (config.root, config.state) == (Path("/b"), Path("/c"))
    assert (config.uid, config.gid) == (5, 4)
    assert config.disabled == ("io.a.x.v1", "io.b.x.v1")
    assert merged(path)["imports"] == [str(path), str(tmp_path / "b.toml"), str(tmp_path / "c.toml")]


def test_sockets_of_shims_belong_to_the_same_unless_they_have_an_address(tmp_path: Path) -> None:
    one = write(tmp_path / "1.toml", "version = 2\n[grpc]\nuid = 5\ngid = 6\n[ttrpc]\nuid = 7\n")
    other = write(tmp_path / "2.toml", 'version = 2\n[grpc]\nuid = 5\n[ttrpc]\nuid = 7\naddress = "/t"\n')

    assert (load(one, {}).ttrpc_uid, load(one, {}).ttrpc_gid) == (5, 6)
    assert (load(other, {}).ttrpc_uid, load(other, {}).ttrpc) == (7, Path("/t"))


@pytest.mark.parametrize(
    ("version", "key", "policy"),
    [(2, '"io.containerd.gc.v1.scheduler"', '"io.containerd.metadata.v1.bolt"'), (1, "scheduler", "bolt")],
)
def test_plugins_have_settings_under_full_and_short_names(
    tmp_path: Path, version: int, key: str, policy: str
) -> None:
    path = write(
        tmp_path / "c.toml",
        f"version = {version}\n[plugins.{key}]\ndeletion_threshold = 3\nmutation_threshold = 4\npause_threshold = 0.7\n"
        f'schedule_delay = "1m30s"\nstartup_delay = "1.5s"\n[plugins.{policy}]\ncontent_sharing_policy = "isolated"\n',
    )

    config = load(path, {})

    assert config.schedule == Schedule(deletions=3, mutations=4, pause=0.5, delay=90.0, startup=1.5)
    assert not config.sharing
    assert config.ignored == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('disabled_plugins = ["cri"]', 'invalid disabled plugin URI "cri" expect io.containerd.x.vx'),
        ('required_plugins = ["cri"]', 'invalid required plugin URI "cri" expect io.containerd.x.vx'),
        ("[plugins.cri]\nx = 1", 'invalid plugin key URI "cri" expect io.containerd.x.vx'),
        ('disabled_plugins = "x"', "disabled_plugins must be a list of strings"),
        ("imports = [1]", "imports must be a list of strings"),
        ("grpc = 3", "grpc must be a table"),
        ('[grpc]\nuid = "x"', "grpc.uid must be a number"),
        ('[debug]\nformat = "xml"', "debug.format must be one of text, json"),
        (
            '[plugins."io.containerd.gc.v1.scheduler"]\nschedule_delay = "soon"',
            'schedule_delay must be a time such as 100ms, not "soon"',
        ),
        ("root = [", "failed to load TOML"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "c.toml", f"version = 2\n{text}\n")

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_version_of_the_future(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="equal to or less than `2`, got `3`"):
        load(write(tmp_path / "c.toml", "version = 3\n"), {})


def test_plugins_are_switched_off_by_their_names(tmp_path: Path) -> None:
    names = {plugin.uri for plugin in all_plugins(tmp_path, ())}
    left = {plugin.uri for plugin in all_plugins(tmp_path, ("io.containerd.snapshotter.v1.native",))}

    assert names - left == {"io.containerd.snapshotter.v1.native"}
    assert missing(["io.containerd.grpc.v1.tasks", "io.containerd.grpc.v1.cri"], tmp_path, ()) == [
        "io.containerd.grpc.v1.cri"
    ]


def test_config_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "c.toml", 'root = "/r"\n')

    assert main(["config", "default"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == DEFAULTS
    assert main(["--config", str(path), "config", "dump"]) == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert (shown["root"], shown["version"], shown["imports"]) == ("/r", 2, [str(path)])


def test_missing_required_plugin_keeps_the_server_from_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "c.toml", 'version = 2\nrequired_plugins = ["io.containerd.grpc.v1.cri"]\n')

    assert main(["--config", str(path)]) == 1
    assert capsys.readouterr().err == "containerd: missing required plugins: io.containerd.grpc.v1.cri\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("containerd github.com/containerd/containerd 1.6.20")


def test_published_event_that_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Input:
        class buffer:  # noqa: N801 - as sys.stdin has it
            @staticmethod
            def read() -> bytes:
                return b"\xff"

    monkeypatch.setattr("sys.stdin", Input)

    assert main(["--address", "/nowhere", "publish", "--topic", "/t"]) == 1
    assert capsys.readouterr().err.startswith("containerd: ")


def test_toml_nests_and_quotes() -> None:
    document = {"b": 1, "a": [True, 'x"y'], "t": {"u.v": {"w": 1.5}}}

    text = tomlwrite.dumps(document)

    assert tomllib.loads(text) == document
    assert '[t."u.v"]' in text
