import io
import os
import tarfile
import zlib
from pathlib import Path

import pytest
import zstandard

from sixhops.containerd.errors import from_shim, unknown
from sixhops.containerd.metadata.filters import parse_all
from sixhops.containerd.metadata.validate import check_digest, check_identifier, check_labels
from sixhops.containerd.settings.config import Config, ConfigError, load
from sixhops.containerd.storage.unpack import extract, open_layer
from sixhops.linux.mountlist import parse_options
from sixhops.wire.ttrpc.status import Code, RpcError

FIELDS = {("name",): "busybox", ("topic",): "/tasks/exit", ("labels", "a.b"): "x y", ("namespace",): "moby"}


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ([], True),
        (["name==busybox"], True),
        (["name==other"], False),
        (["name!=other"], True),
        (["missing"], False),
        (["name"], True),
        (["missing!=x"], True),
        (['labels."a.b"=="x y"'], True),
        (["namespace==moby,topic~=|^/tasks/|"], True),
        (["namespace==other,topic~=|^/tasks/|"], False),
        (["name==other", "topic~=/exit$/"], True),
        (['topic~="^/containers/"'], False),
    ],
)
def test_filters(filters: list[str], matches: bool) -> None:
    assert parse_all(filters).matches(FIELDS.get) is matches  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["==x", "name==", "name==a b", "name==|a|", "na-me==x"])
def test_bad_filters(text: str) -> None:
    with pytest.raises(RpcError, match="filters: parse error") as caught:
        parse_all([text])

    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "identifier must not be empty: invalid argument"),
        ("a" * 77, r"greater than maximum length \(76 characters\): invalid argument"),
        ("a/b", 'identifier "a/b" must match'),
        ("-a", "must match"),
    ],
)
def test_bad_identifiers(name: str, message: str) -> None:
    with pytest.raises(RpcError, match=message):
        check_identifier(name)


def test_good_identifiers() -> None:
    for name in ("a", "a" * 76, "a.b-c_d9"):
        check_identifier(name)


def test_long_label() -> None:
    with pytest.raises(
        RpcError, match=r"label key and value greater than maximum size \(4096 bytes\), key: k"
    ):
        check_labels({"k": "v" * 4096}, "info.Labels")


@pytest.mark.parametrize(
    ("digest", "problem"),
    [
        ("sha256:" + "a" * 64, None),
        ("sha256:" + "a" * 63, "invalid checksum digest length"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("nonsense", "invalid checksum digest format"),
    ],
)
def test_digests(digest: str, problem: str | None) -> None:
    assert check_digest(digest) == problem


def test_shim_error_gets_its_kind_once() -> None:
    found = from_shim(RpcError(Code.NOT_FOUND, "container not created: not found"))
    plain = from_shim(RpcError(Code.UNKNOWN, "OCI runtime create failed: x"))
    again = from_shim(plain, "failed to create shim task")

    assert found.message == "container not created: not found"
    assert again.message == "failed to create shim task: OCI runtime create failed: x: unknown"
    assert unknown("x").message == "x: unknown"


def test_config_of_a_real_installation(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        'version = 2\nroot = "/r"\nstate = "/s"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\nplugin_dir = "/p"\n'
        '[grpc]\n  address = "/a.sock"\n'
        '  uid = 3\n[debug]\n  level = "debug"\n[plugins."io.containerd.sixhops"]\n  shim = "embedded"\n'
    )

    config = load(path, {"state": "/other", "root": None})

    assert (config.root, config.state, config.ttrpc) == (Path("/r"), Path("/other"), Path("/a.sock.ttrpc"))
    assert (config.uid, config.level, config.shim) == (3, "debug", "embedded")
    assert config.disabled == ("io.containerd.grpc.v1.cri",)
    assert config.ignored == ("plugin_dir",)


def test_config_that_dockerd_writes(tmp_path: Path) -> None:
    path = tmp_path / "containerd.toml"
    path.write_text(
        'version = 0\nroot = "/r"\ntemp = ""\noom_score = -500\n[grpc]\naddress = "/a"\ntcp_address = ""\n'
        '[ttrpc]\naddress = ""\n[debug]\nlevel = "warn"\n[plugins]\n[plugins.linux]\nshim = "containerd-shim"\n'
    )

    config = load(path, {})

    assert (config.oom_score, config.ttrpc, config.level) == (-500, Path("/a.ttrpc"), "warn")


def test_defaults_without_a_file() -> None:
    assert load(None, {}) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 9", "config version"),
        ("root = 1", "root must be a string"),
        ("grpc = 1", "grpc must be a table"),
        ('[plugins."io.containerd.sixhops"]\nshim = "x"', "must be one of auto, embedded, exec"),
        ("= nonsense", "failed to load TOML"),
    ],
)
def test_bad_config(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message):
        load(path, {})


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none", {})


def test_mount_options() -> None:
    assert parse_options(["ro", "rbind", "lowerdir=/a", "rw", "index=off"]) == (
        4096 | 16384,
        "lowerdir=/a,index=off",
    )


# -- layers


def archive(*members: tuple[str, bytes | None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mtime = os.getuid(), os.getgid(), 1_000_000
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o750
                made.addfile(info)
            else:
                info.size, info.mode = len(data), 0o640
                made.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def pack_gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("pack", [bytes, pack_gzip, zstandard.ZstdCompressor().compress])
def test_layer_in_each_compression(tmp_path: Path, pack: object) -> None:
    layer = open_layer(io.BytesIO(pack(archive(("d", None), ("d/f", b"x" * 100_000)))))  # type: ignore[operator]

    extract(layer, tmp_path)

    assert (tmp_path / "d/f").read_bytes() == b"x" * 100_000
    assert ((tmp_path / "d/f").stat().st_mode & 0o777, (tmp_path / "d").stat().st_mtime) == (0o640, 1_000_000)


def test_gzip_members_in_a_row(tmp_path: Path) -> None:
    whole = archive(("f", b"y" * 5000))
    layer = open_layer(io.BytesIO(pack_gzip(whole[:2000]) + pack_gzip(whole[2000:])))

    extract(layer, tmp_path)

    assert (tmp_path / "f").read_bytes() == b"y" * 5000


def test_torn_gzip(tmp_path: Path) -> None:
    data = pack_gzip(archive(("f", os.urandom(5000))))
    layer = open_layer(io.BytesIO(data[:-1000]))

    with pytest.raises((EOFError, tarfile.ReadError, OSError)):
        extract(layer, tmp_path)


def test_whiteouts(tmp_path: Path) -> None:
    extract(open_layer(io.BytesIO(archive(("a/x", b"1"), ("b/x", b"1"), ("b/y", b"1")))), tmp_path)

    upper = archive(("a/.wh.x", b""), ("b/new", b"2"), ("b/.wh..wh..opq", b""))
    extract(open_layer(io.BytesIO(upper)), tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "b", "b/new"]


def test_opaque_marker_reaches_into_directories_that_the_layer_has_too(tmp_path: Path) -> None:
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/sub/old").touch()

    upper = archive(("d/sub/", None), ("d/sub/new", b"2"), ("d/.wh..wh..opq", b""))
    extract(open_layer(io.BytesIO(upper)), tmp_path)

    assert [path.name for path in (tmp_path / "d/sub").iterdir()] == ["new"]


def test_file_replaces_directory_and_link(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/old").touch()
    outside = tmp_path / "target"
    outside.write_text("kept")
    (tmp_path / "link").symlink_to(outside)

    extract(open_layer(io.BytesIO(archive(("d", b"file"), ("link", b"file")))), tmp_path)

    assert (tmp_path / "d").read_bytes() == (tmp_path / "link").read_bytes() == b"file"
    assert outside.read_text() == "kept"
