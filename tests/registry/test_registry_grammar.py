import pytest

from sixhops.registry.http.negotiation import accepted, reads
from sixhops.registry.http.ranges import RANGE_LIMIT, Unsatisfiable, parse_chunk, parse_range
from sixhops.registry.names import Digest, is_repository, is_tag, is_upload, parse_digest
from sixhops.wire.image import media


@pytest.mark.parametrize("name", ["a", "library/hello-world", "a.b/c_d/e__f/g--h/0", "a" * 255])
def test_repository_names(name: str) -> None:
    assert is_repository(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "a/",
        "/a",
        "a//b",
        "..",
        "a/../b",
        "a/.b",
        "_layers",
        "a/_uploads",
        "a\0",
        "a\n",
        "é",
        "a" * 256,
    ],
)
def test_names_that_are_no_repository(name: str) -> None:
    assert not is_repository(name)


@pytest.mark.parametrize("tag", ["latest", "_x", "V1.2-3", "a" * 128])
def test_tags(tag: str) -> None:
    assert is_tag(tag)


@pytest.mark.parametrize("tag", ["", ".x", "-x", "a/b", "a:b", "a" * 129, "a\n", "é"])
def test_texts_that_are_no_tag(tag: str) -> None:
    assert not is_tag(tag)


def test_digests_of_both_algorithms() -> None:
    assert parse_digest("sha256:" + "a" * 64) == Digest("sha256", "a" * 64)
    assert str(parse_digest("sha512:" + "0" * 128)) == "sha512:" + "0" * 128


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "A" * 64,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 64 + "\n",
    ],
)
def test_texts_that_are_no_digest(text: str) -> None:
    assert parse_digest(text) is None


def test_uploads_are_uuids_in_lower_case() -> None:
    assert is_upload("0d19a7a4-0875-418a-acbe-ad966d523a22")
    assert not is_upload("../0d19a7a4-0875-418a-acbe-ad966d523a22")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        ("bytes=0-3", [(0, 4)]),
        ("bytes=5-", [(5, 5)]),
        ("bytes=-4", [(6, 4)]),
        ("bytes=-40", [(0, 10)]),
        ("bytes=0-1000", [(0, 10)]),
        ("bytes=0-0, 9-9", [(0, 1), (9, 1)]),
        ("bytes=0-0,50-60", [(0, 1)]),
        ("bytes=0-8,1-9", []),
    ],
)
def test_ranges_of_ten_bytes(header: str, found: list[tuple[int, int]]) -> None:
    assert parse_range(header, 10) == found


@pytest.mark.parametrize(
    "header",
    [
        "bytes=10-",
        "bytes=5-2",
        "bytes=-0",
        "bytes=-",
        "bytes=x",
        "bytes",
        "items=0-1",
        "bytes=" + "0-0," * RANGE_LIMIT,
    ],
)
def test_ranges_that_ten_bytes_cannot_satisfy(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 10)


@pytest.mark.parametrize("header", ["5-9", "bytes 5-9/10", "bytes=5-9", "bytes 5-9/*"])
def test_chunk_in_every_notation(header: str) -> None:
    assert parse_chunk(header) == (5, 9)


@pytest.mark.parametrize("header", ["", "9-5", "-5", "5-", "a-b", "5-9-11", "5" * 30 + "-9"])
def test_chunk_that_is_none(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_chunk(header)


def test_accept_lines_are_one_list() -> None:
    types = accepted(["a/b;q=0.1, C/D", "e/f"])

    assert types == {"a/b", "c/d", "e/f"}


@pytest.mark.parametrize("lines", [[], [""], ["*/*"], ["a/b, */*;q=0.8"], ["application/*"]])
def test_no_accept_and_wildcards_mean_anything(lines: list[str]) -> None:
    assert accepted(lines) is None
    assert reads(accepted(lines), media.OCI_INDEX)


def test_a_client_reads_what_it_names_and_schema1() -> None:
    types = accepted([media.DOCKER_MANIFEST])

    assert reads(types, media.DOCKER_MANIFEST)
    assert reads(types, media.DOCKER_SCHEMA1_SIGNED)
    assert not reads(types, media.OCI_MANIFEST)
