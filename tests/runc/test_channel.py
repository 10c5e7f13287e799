from sixhops.runc import channel as ch


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
