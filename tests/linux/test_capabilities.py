from sixhops.linux.capabilities import NAMES, to_mask


def test_dockers_default_mask():
    names = (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
        "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    )

    mask, unknown = to_mask(tuple(f"CAP_{name}" for name in names.split()))

    assert f"{mask:016x}" == "00000000a80425fb"
    assert unknown == []


def test_unknown_and_too_new_names_are_told():
    mask, unknown = to_mask(("CAP_CHOWN", "CAP_FOO", "CAP_BPF"), last=38)

    assert mask == 1
    assert unknown == ["CAP_FOO", "CAP_BPF"]


def test_numbers_are_the_kernels():
    assert NAMES[21] == "CAP_SYS_ADMIN"
    assert NAMES[40] == "CAP_CHECKPOINT_RESTORE"
