"""The guest's disk: a Debian tree with Docker under systemd, our reference stack beside it, keys and certificates.

No loop device and no mount of the image: mke2fs fills the file system from the tree.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = "trixie"
#: What the guest's python3 is, for which our packages are chosen.
GUEST_PYTHON = "3.13"
PACKAGES = (
    *("docker.io", "docker-cli", "containerd", "runc", "iptables", "busybox-static"),
    *("linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "libpam-systemd"),
    *("openssh-server", "iproute2", "procps", "kmod", "python3-minimal", "python3", "libseccomp2", "criu"),
    *("gcc", "libc6-dev"),  # for the programs in images and the taps of stacks that are started in there
)
_UNWANTED = ("apt-daily", "apt-daily-upgrade", "fstrim", "dpkg-db-backup", "e2scrub_all", "man-db")
_SIZE = "4G"

_NETWORK = """[Match]
Name=en* eth*
[Network]
DHCP=ipv4
"""

# Where a run lends the engine its registry (through ssh).
_MIRROR = "http://127.0.0.1:5000"

# Debian's unit brings `-H fd://`; a `hosts` key in daemon.json would clash with it.
_DOCKER_OPTIONS = (
    'DOCKER_OPTS="-H tcp://0.0.0.0:2376 --tlsverify --tlscacert=/etc/docker/tls/ca.pem '
    '--tlscert=/etc/docker/tls/server.pem --tlskey=/etc/docker/tls/server-key.pem"\n'
)

_CONTAINERD = """version = 2
root = "/var/lib/sixhops/containerd"
state = "/run/sixhops/containerd"
[grpc]
  address = "/run/sixhops/containerd.sock"
[plugins."io.containerd.sixhops"]
  shim = "embedded"
"""

_UNIT = """[Unit]
Description=sixhops: {what}
{order}
[Service]
Environment=PATH=/opt/sixhops/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart={command}
Delegate=yes
KillMode=process
"""

_PROGRAMS = {
    "containerd": "containerd",
    "dockerd": "dockerd",
    "containerd-shim-runc-v2": "shim",
    "containerd-shim-sixhops-v1": "shim",
    "runc": "runc",
}


def build(work: Path, repository: Path) -> None:
    """Make kernel, initrd, disk.img, id_ed25519 and certs/ in `work`; what is there already is kept.

    Raises CalledProcessError: a program failed, whose output is on the terminal.
    """
    if (work / "disk.img").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    tree = work / "tree"
    if not tree.exists():
        _make_tree(tree)
    _install_reference(tree, repository)
    _make_keys(work)
    _make_certificates(work / "certs", tree / "etc/docker/tls")
    _configure(work, tree)
    boot = tree / "boot"
    shutil.copy(next(boot.glob("vmlinuz-*")), work / "vmlinuz")
    shutil.copy(next(boot.glob("initrd.img-*")), work / "initrd")
    making = work / "disk.making"
    making.unlink(missing_ok=True)
    _run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-L",
        "root",
        "-d",
        tree,
        "-E",
        "lazy_itable_init=1,lazy_journal_init=1",
        making,
        _SIZE,
    )
    making.rename(work / "disk.img")


def _make_tree(tree: Path) -> None:
    making = tree.with_name("tree.making")
    shutil.rmtree(making, ignore_errors=True)
    _run("debootstrap", "--variant=minbase", RELEASE, making, _mirror())
    policy = making / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # no service starts in there
    policy.chmod(0o755)
    script = (
        'mount -t proc proc "$0/proc"; exec chroot "$0" env DEBIAN_FRONTEND=noninteractive '
        'apt-get install -y --no-install-recommends "$@"'
    )
    _run("unshare", "--mount", "--propagation", "private", "sh", "-ec", script, making, *PACKAGES)
    policy.unlink()
    for packages in making.glob("var/cache/apt/archives/*.deb"):
        packages.unlink()
    shutil.rmtree(making / "var/lib/apt/lists")
    making.rename(tree)


def _mirror() -> str:
    """Return where packages come from: $DEBIAN_MIRROR, else what this machine's apt uses."""
    chosen = os.environ.get("DEBIAN_MIRROR")
    if chosen:
        return chosen
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for line in lines:
        if line.rstrip("/").endswith("/debian"):
            return line
    raise SystemExit("apt has no Debian mirror here; say one with DEBIAN_MIRROR")


def _install_reference(tree: Path, repository: Path) -> None:
    """Put our programs, and what they import, into /opt/sixhops of the guest, for the guest's Python."""
    place = tree / "opt/sixhops"
    shutil.rmtree(place, ignore_errors=True)
    wheels = tree.parent / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, repository)
    _run(
        *pip, "install", "--no-compile", "--target", place / "lib", "--python-version", GUEST_PYTHON,
        "--only-binary=:all:", next(wheels.glob("sixhops-*.whl")),
    )  # fmt: skip
    _install_suite(tree)
    programs = place / "bin"
    programs.mkdir()
    for name, module in _PROGRAMS.items():
        launcher = programs / name
        launcher.write_text(
            "#!/usr/bin/python3 -P\n"
            "import runpy, sys\n"
            'sys.path.insert(0, "/opt/sixhops/lib")\n'
            f'runpy.run_module("sixhops.{module}", run_name="__main__", alter_sys=True)\n'
        )
        launcher.chmod(0o755)
    units = tree / "etc/systemd/system"
    (tree / "etc/sixhops-containerd.toml").write_text(_CONTAINERD)
    (units / "sixhops-containerd.service").write_text(
        _UNIT.format(
            what="containerd",
            order="",
            command="/opt/sixhops/bin/containerd --config /etc/sixhops-containerd.toml",
        )
    )
    (units / "sixhops.service").write_text(
        _UNIT.format(
            what="dockerd",
            order="Requires=sixhops-containerd.service\nAfter=sixhops-containerd.service\n"
            "Conflicts=docker.service docker.socket\n",
            command="/opt/sixhops/bin/dockerd --host unix:///run/sixhops/docker.sock --data-root /var/lib/sixhops/docker "
            "--exec-root /run/sixhops/docker --pidfile /run/sixhops/docker.pid "
            "--containerd /run/sixhops/containerd.sock",
        )
    )


def _install_suite(tree: Path) -> None:
    """Let the guest's Python find what is in /opt/sixhops/lib, and have the suite as a command.

    What the guest would take much longer for is done here: modules are compiled, and the suite is read into the cache.
    """
    (tree / f"usr/local/lib/python{GUEST_PYTHON}/dist-packages/sixhops.pth").write_text("/opt/sixhops/lib\n")
    program = tree / "usr/local/bin/sixhops"
    program.write_text('#!/bin/sh\nexec python3 -m sixhops "$@"\n')
    program.chmod(0o755)
    environment = ("env", "-i", "HOME=/root", "PATH=/usr/local/bin:/usr/bin:/bin")
    _run("chroot", tree, *environment, "python3", "-m", "compileall", "-q", "-j", "0", "/opt/sixhops/lib")
    _run("chroot", tree, *environment, "sixhops", "lint")


def _make_keys(work: Path) -> None:
    key = work / "id_ed25519"
    if not key.exists():
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sixhops", "-f", key)


def _configure(work: Path, tree: Path) -> None:
    home = tree / "root/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(work / "id_ed25519.pub", home / "authorized_keys")
    (home / "authorized_keys").chmod(0o600)
    (tree / "etc/systemd/network/10-ethernet.network").write_text(_NETWORK)
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    link = wants / "systemd-networkd.service"
    link.unlink(missing_ok=True)
    link.symlink_to("/lib/systemd/system/systemd-networkd.service")
    (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 0\n")
    (tree / "etc/hostname").write_text("sixhops-vm\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost sixhops-vm\n")
    (tree / "etc/machine-id").write_text("")
    # It exists nowhere (TEST-NET-1): nothing in the guest is to be looked up outside.
    resolver = tree / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.write_text("nameserver 192.0.2.53\n")
    (tree / "etc/default/docker").write_text(_DOCKER_OPTIONS)
    (tree / "etc/docker/daemon.json").write_text(json.dumps({"registry-mirrors": [_MIRROR]}))
    for name in _UNWANTED:
        for unit in tree.glob(f"etc/systemd/system/*.wants/{name}.timer"):
            unit.unlink()


def _make_certificates(client: Path, server: Path) -> None:
    """Make an authority, and a certificate each for the engine and for its client (ca.pem, cert.pem, key.pem)."""
    client.mkdir(exist_ok=True)
    server.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sixhops VM")])

    def issue(
        name: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[x509.ExtensionType]
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            # The guest's clock may stand at the time of a saved state.
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=365))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority = issue(authority_name, authority_key, [x509.BasicConstraints(ca=True, path_length=0)])
    for directory, role, names in (
        (server, ExtendedKeyUsageOID.SERVER_AUTH, ("server.pem", "server-key.pem")),
        (client, ExtendedKeyUsageOID.CLIENT_AUTH, ("cert.pem", "key.pem")),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        (directory / "ca.pem").write_bytes(authority)
        (directory / names[0]).write_bytes(issue(name, key, [x509.ExtendedKeyUsage([role]), alternatives]))
        private = directory / names[1]
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL)
