import os

import pytest

from sixhops.runc import channel as ch
from sixhops.runc.errors import RuntimeFault


def test_last_words_are_heard_though_the_speaker_had_not_read_all() -> None:
    ours, theirs = ch.open_channel()
    ours.send(ch.GO)
    theirs.send(ch.FAILED, b"why")
    theirs.close()

    assert ours.receive() == (ch.FAILED, b"why")
    assert ours.receive() == (b"", b"")
    ours.close()


def test_what_came_before_is_kept() -> None:
    ours, theirs = ch.open_channel()
    ours.send(ch.GO)
    ours.send(ch.FILTER, b"program")
    ours.send(ch.HOOKS)

    assert theirs.expect(ch.HOOKS) == b""
    assert theirs.expect(ch.FILTER) == b"program"
    assert theirs.expect(ch.GO) == b""
    for end in (ours, theirs):
        end.close()


def test_descriptors_are_taken_and_what_came_before_is_kept() -> None:
    ours, theirs = ch.open_channel()
    reader, writer = os.pipe()
    ours.send(ch.MADE)
    ours.hand(ch.JOIN, (writer,))
    ours.hand(ch.JOIN, ())

    (copy,) = theirs.take(ch.JOIN)
    os.write(copy, b"through")
    assert os.read(reader, 16) == b"through"
    assert theirs.take(ch.JOIN) == ()
    assert theirs.expect(ch.MADE) == b""
    for descriptor in (copy, reader, writer):
        os.close(descriptor)
    for end in (ours, theirs):
        end.close()


def test_who_waits_for_descriptors_is_told_that_the_other_side_is_gone() -> None:
    ours, theirs = ch.open_channel()
    ours.close()

    with pytest.raises(RuntimeFault, match="other process is gone"):
        theirs.take(ch.JOIN)
    theirs.close()


@pytest.mark.parametrize("handed", [True, False])
def test_who_speaks_to_one_that_has_gone_is_told_so_whether_it_had_read_all_or_not(handed: bool) -> None:
    ours, theirs = ch.open_channel()
    ours.send(ch.MADE)
    theirs.send(ch.FAILED, b"why")
    theirs.close()

    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            ours.hand(ch.JOIN, (0,)) if handed else ours.send(ch.GO)
    assert ours.receive() == (ch.FAILED, b"why")
    ours.close()
