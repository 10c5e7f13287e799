"""The same requests to docker-registry and to ours: what differs is listed here with its reason."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import pytest
import registry_support as support
from registry_support import DOCKER, INDEX, LIST, OCI, UPSTREAM, Answer, Running, digest, index, manifest

pytestmark = [
    pytest.mark.skipif(UPSTREAM is None, reason="docker-registry is not installed"),
    pytest.mark.xdist_group("registry-against-upstream"),
]

BLOB = b"hello blob"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
D = digest(BLOB)
NONE = digest(b"nobody pushed this")
IMAGE = manifest(DOCKER, CONFIG, BLOB)
OCI_IMAGE = manifest(OCI, CONFIG, BLOB)
MANY = index(LIST, (IMAGE, DOCKER))
ARM = index(LIST, (IMAGE, DOCKER), architecture="arm")
OCI_MANY = index(INDEX, (OCI_IMAGE, OCI))
ALL = f"{DOCKER}, {LIST}, {OCI}, {INDEX}"
ANY = {"Accept": ALL}
UPLOADS = "/v2/lib/a/blobs/uploads/"
BLOBS = "/v2/lib/a/blobs/"
M = "/v2/lib/a/manifests/"


@dataclass(frozen=True)
class Step:
    """One request; `{u}` in the target is the Location that was last kept."""

    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    keep: bool = False
    detail: bool = True  # whether the `detail` of errors is comparable, or an accident of Go's types
    label: str = ""

    def __str__(self) -> str:
        extra = " ".join(f"{k}={v}" for k, v in self.headers.items())
        text = self.label or f"{self.method} {self.target} {extra}"
        return re.sub(r"([0-9a-f]{6})[0-9a-f]{58}", r"\1", text).replace("application/vnd.", "").strip()


def put(target: str, body: bytes, kind: str, **more: Any) -> Step:
    return Step("PUT", target, body, {"Content-Type": kind} if kind else {}, **more)


def start(target: str = UPLOADS) -> Step:
    return Step("POST", target, keep=True)


IMAGE_WITHOUT = manifest(DOCKER, b"no such config", b"no such layer")
STEPS = [
    # the API's root, and paths that are none
    Step("GET", "/"),
    Step("GET", "/v2"),
    Step("POST", "/v2"),
    Step("GET", "/v2/"),
    Step("HEAD", "/v2/"),
    Step("GET", "/nothing"),
    Step("GET", "/v2/nothing"),
    Step("GET", "/v2/lib//a/tags/list"),
    Step("GET", "/v2/lib/../lib/a/tags/list"),
    Step("GET", "/v2/lib/%2e%2e/%2e%2e/etc/passwd"),
    Step("GET", "/v2/lib/a/tags/list/"),
    Step("GET", "/v2/lib/a/blobs/uploads"),
    # nothing is there yet
    Step("GET", "/v2/_catalog"),
    Step("PUT", "/v2/_catalog"),
    Step("GET", "/v2/_catalog?n=100000"),
    Step("GET", "/v2/lib/a/tags/list"),
    Step("GET", M + "latest", label="GET manifest of an empty registry"),
    Step("HEAD", M + "latest", label="HEAD manifest of an empty registry"),
    Step("GET", M + NONE),
    Step("GET", BLOBS + NONE),
    Step("HEAD", BLOBS + NONE),
    Step("GET", BLOBS + "sha256:abc"),
    Step("GET", BLOBS + "sha512:" + "a" * 64),
    Step("DELETE", BLOBS + NONE),
    Step("DELETE", M + NONE),
    # uploads
    start(),
    Step("GET", "{u}", label="status of a new upload"),
    Step("PUT", "{u}digest=" + D, BLOB, label="POST then PUT"),
    Step("GET", "{u}", label="status of a finished upload"),
    start(),
    Step("PATCH", "{u}", b"hello", keep=True, label="first chunk"),
    Step("GET", "{u}", label="status after a chunk"),
    Step("PATCH", "{u}", b" blob", {"Content-Range": "5-9"}, keep=True, label="second chunk in order"),
    Step("PUT", "{u}digest=" + D, label="PUT without body ends the chunks"),
    start(),
    Step("PUT", "{u}", label="PUT without digest"),
    start(),
    Step("PUT", "{u}digest=bad", label="PUT with a malformed digest"),
    start(),
    Step("PUT", "{u}digest=" + NONE, BLOB, label="PUT with the wrong digest"),
    Step("PATCH", "{u}", b"x", label="PATCH after the wrong digest"),
    start(),
    Step("DELETE", "{u}", label="cancel"),
    Step("DELETE", "{u}", label="cancel again"),
    Step("PATCH", "{u}", b"x", label="PATCH after cancel"),
    Step("PUT", "{u}digest=" + D, BLOB, label="PUT after cancel"),
    start(),
    Step("PATCH", "{u}", b"hello", {"Content-Range": "7-11"}, label="chunk out of order"),
    start(),
    Step("PATCH", "{u}", b"hello", {"Content-Type": "text/plain"}, label="chunk of another type"),
    Step("GET", UPLOADS + "abc"),
    Step("PUT", UPLOADS),
    Step("POST", UPLOADS + "?digest=" + D, BLOB, label="POST with digest"),
    start(),
    Step("PUT", "{u}digest=" + digest(CONFIG), CONFIG, label="config"),
    # mounts
    Step("POST", f"/v2/lib/b/blobs/uploads/?mount={D}&from=lib/a"),
    Step("GET", "/v2/lib/b/blobs/" + D),
    Step("POST", f"/v2/lib/b/blobs/uploads/?mount={NONE}&from=lib/a"),
    Step("POST", f"/v2/lib/b/blobs/uploads/?mount={D}&from=lib/none"),
    Step("POST", f"/v2/lib/b/blobs/uploads/?mount={D}"),
    Step("POST", "/v2/lib/b/blobs/uploads/?mount=bad&from=lib/a"),
    # blobs
    Step("GET", BLOBS + D),
    Step("HEAD", BLOBS + D),
    *(
        Step("GET", BLOBS + D, headers={"Range": value})
        for value in [
            "bytes=0-3",
            "bytes=5-",
            "bytes=-4",
            "bytes=-40",
            "bytes=0-1000",
            "bytes=0-0,9-9",
            "bytes=0-8,1-9",
            "bytes=50-60",
            "bytes=5-2",
            "bytes=x",
            "items=0-1",
        ]
    ),
    Step("HEAD", BLOBS + D, headers={"Range": "bytes=0-3"}),
    Step("GET", BLOBS + D, headers={"If-None-Match": f'"{D}"'}),
    Step("GET", BLOBS + D, headers={"If-None-Match": "*"}),
    Step("GET", BLOBS + D, headers={"If-None-Match": D}),
    Step("GET", BLOBS + D, headers={"If-Match": '"x"'}),
    Step("GET", BLOBS + D, headers={"If-Range": '"x"', "Range": "bytes=0-3"}),
    Step("GET", BLOBS + D, headers={"If-Range": f'"{D}"', "Range": "bytes=0-3"}),
    Step("POST", BLOBS + D),
    Step("OPTIONS", BLOBS + D),
    # manifests
    put(M + "latest", IMAGE, DOCKER, label="put an image"),
    put(M + digest(IMAGE), IMAGE, DOCKER, label="put by digest"),
    put(M + NONE, IMAGE, DOCKER, label="put by another digest"),
    put(M + "latest", IMAGE, "", label="put without Content-Type", detail=False),
    put(M + "latest", IMAGE, "application/json", label="put as plain JSON", detail=False),
    put(M + "latest", IMAGE, "text/plain", label="put as text", detail=False),
    put(M + "latest", IMAGE, OCI, label="put a docker image as OCI", detail=False),
    put(M + "latest", b"", DOCKER, label="put nothing", detail=False),
    put(M + "latest", b"{", DOCKER, label="put torn JSON", detail=False),
    put(M + "latest", b"[]", DOCKER, label="put a list", detail=False),
    put(M + "latest", b"{}", DOCKER, label="put an empty object", detail=False),
    put(M + "latest", b" " * ((4 << 20) + 1), DOCKER, label="put more than 4 MiB"),
    put(M + "latest", IMAGE_WITHOUT, DOCKER, label="put an image without its blobs"),
    put(M + "oci", OCI_IMAGE, OCI, label="put an OCI image"),
    put(M + "list", MANY, LIST, label="put a list"),
    put(M + "arm", ARM, LIST, label="put a list without amd64"),
    put(M + "index", OCI_MANY, INDEX, label="put an index"),
    put(M + "index", index(INDEX, (b"none", OCI)), INDEX, label="put an index without its manifests"),
    put(M + "index", index(INDEX, layers=[]), INDEX, label="put an index with layers", detail=False),
    *(
        Step(method, M + name, headers=headers)
        for name in ["latest", "list", "arm", "oci", "index"]
        for method, headers in [
            ("GET", {}),
            ("GET", ANY),
            ("HEAD", ANY),
            ("GET", {"Accept": DOCKER}),
            ("GET", {"Accept": OCI + ";q=0.5, " + INDEX}),
        ]
    ),
    Step("GET", M + digest(IMAGE)),
    Step("GET", M + digest(IMAGE), headers=ANY),
    Step("GET", M + digest(MANY), headers={"Accept": DOCKER}),
    Step("GET", M + digest(OCI_IMAGE)),
    Step("GET", M + "latest", headers=ANY | {"If-None-Match": f'"{digest(IMAGE)}"'}),
    Step("HEAD", M + "latest", headers=ANY | {"If-None-Match": digest(IMAGE)}),
    Step("GET", M + "latest", headers=ANY | {"If-None-Match": f'W/"{digest(IMAGE)}"'}),
    Step("GET", "/v2/LIB/manifests/latest"),
    Step("GET", M + "-x"),
    Step("GET", M + "sha256:abc"),
    Step("PATCH", M + "latest"),
    Step("OPTIONS", M + "latest"),
    # lists
    Step("GET", "/v2/lib/a/tags/list", label="tags"),
    Step("GET", "/v2/lib/a/tags/list?n=2"),
    Step("GET", "/v2/lib/b/tags/list"),
    Step("POST", "/v2/lib/a/tags/list"),
    Step("GET", "/v2/_catalog", label="catalog"),
    Step("GET", "/v2/_catalog?n=1"),
    Step("GET", "/v2/_catalog?n=1&last=lib/a"),
    Step("GET", "/v2/_catalog?last=lib/b"),
    Step("GET", "/v2/_catalog?n=0"),
    Step("GET", "/v2/_catalog?n=bad"),
    Step("GET", "/v2/_catalog?n=-1"),
    # deletions
    Step("DELETE", M + "arm"),
    Step("DELETE", M + digest(IMAGE), label="delete a manifest"),
    Step("DELETE", M + digest(IMAGE), label="delete it again"),
    Step("GET", M + "latest", headers=ANY, label="its tag has gone"),
    Step("DELETE", BLOBS + D, label="delete a blob"),
    Step("DELETE", BLOBS + D, label="delete the blob again"),
    Step("GET", BLOBS + D, label="the blob has gone"),
    Step("GET", "/v2/lib/b/blobs/" + D, label="the other repository still has it"),
]

# docker-registry's reading of Accept, and why it is not ours
NO_ACCEPT = "no Accept header means anything (RFC 9110, 12.5.1); docker-registry takes it for schema1 only"
NARROW = "a client that names no type that fits gets what is stored; docker-registry signs it anew as schema1"
OUTSIDE = "416 with Content-Range (RFC 9110, 15.5.17); docker-registry promises the whole blob and hangs up"
SPECIFIED = "the specification has a code for it; docker-registry's router answers before any handler can"
FAULT = "the client's fault is not a 500"
OCI_ACCEPT = {"Accept": OCI + ";q=0.5, " + INDEX}


def get(name: str, headers: dict[str, str] | None = None) -> str:
    return str(Step("GET", M + name, headers=headers or {}))


def ranged(value: str) -> str:
    return str(Step("GET", BLOBS + D, headers={"Range": value}))


# label -> (docker-registry's status or "broken", our status, reason)
DIFFERENCES: dict[str, tuple[int | str, int, str]] = {
    "PATCH after the wrong digest": (404, 404, "no signed state in our URLs: the upload is simply unknown"),
    "chunk out of order": (202, 416, "distribution-spec 1.1, end-5; docker-registry ignores Content-Range"),
    "chunk of another type": (500, 400, FAULT),
    f"GET {UPLOADS}abc": (404, 404, "no signed state in our URLs: the upload is simply unknown"),
    "POST with digest": (202, 201, "distribution-spec 1.1, end-4b; docker-registry ignores the body"),
    ranged("bytes=50-60"): ("broken", 416, OUTSIDE),
    ranged("bytes=5-2"): ("broken", 416, OUTSIDE),
    ranged("bytes=x"): ("broken", 416, OUTSIDE),
    ranged("items=0-1"): ("broken", 416, OUTSIDE),
    str(Step("GET", BLOBS + D, headers={"If-Match": '"x"'})): ("broken", 412, "the same broken promise"),
    get("latest"): (400, 200, NO_ACCEPT),
    get("latest", OCI_ACCEPT): (400, 200, NARROW),
    get("list"): (400, 200, NO_ACCEPT),
    get("list", OCI_ACCEPT): (400, 200, NARROW),
    get("arm"): (404, 200, NO_ACCEPT),
    get("oci"): (404, 200, NO_ACCEPT),
    get("index"): (404, 200, NO_ACCEPT),
    get(digest(OCI_IMAGE)): (404, 200, NO_ACCEPT),
    "GET /v2/LIB/manifests/latest": (404, 400, SPECIFIED),
    get("-x"): (404, 404, SPECIFIED),
    get("sha256:abc"): (500, 400, FAULT),
    "GET /v2/lib/a/tags/list?n=2": (200, 200, "distribution-spec 1.1, end-8b; 2.8 does not page tags"),
    f"DELETE {M}arm": (400, 202, "distribution-spec 1.1, end-9: a tag can be deleted; 2.8 can't"),
}


def play(server: Running) -> list[Answer | None]:
    """Return the answers to all steps; None where the server broke its own framing."""
    answers: list[Answer | None] = []
    location = ""
    for step in STEPS:
        separator = "&" if "?" in location else "?"
        target = step.target.replace("{u}", location + separator).removesuffix("?").removesuffix("&")
        try:
            answer = server.ask(step.method, target, step.body, step.headers)
        except (HTTPException, OSError):
            answer = None
        if step.keep:
            assert answer is not None
            location = server.path(answer.headers["location"])
        answers.append(answer)
    return answers


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Answer | None, Answer | None]]:
    theirs, own = (tmp_path_factory.mktemp(name) for name in ("theirs", "ours"))
    with support.upstream(theirs) as server:
        left = play(server)
    with support.ours(own) as server:
        right = play(server)
    return {name: (one, other) for name, one, other in zip(NAMES, left, right, strict=True)}


NAMES = [f"{number:03d} {step}" for number, step in enumerate(STEPS)]
COMPARED = [
    "accept-ranges", "allow", "cache-control", "content-length", "content-range", "content-type",
    "docker-content-digest", "docker-distribution-api-version", "docker-upload-uuid", "etag", "link",
    "location", "range", "x-content-type-options",
]  # fmt: skip


def facts(answer: Answer | None, step: Step) -> dict[str, Any]:
    if answer is None:
        return {"status": "broken"}
    found: dict[str, Any] = {name: answer.headers[name] for name in COMPARED if name in answer.headers}
    found["status"] = answer.status
    body: Any = answer.body
    if found.get("content-type", "").startswith("application/json") and body:
        body = json.loads(body)
        if not step.detail:
            for entry in body["errors"]:
                entry.pop("detail", None)
            found.pop("content-length")
        if "tags" in body:
            # docker-registry lists as the directory does; sorted is what the specification wants.
            body["tags"].sort()
    if found.get("content-type", "").startswith("multipart/"):
        boundary = found["content-type"].partition("boundary=")[2]
        body = body.replace(boundary.encode(), b"BOUNDARY")
        found["content-type"] = found["content-type"].replace(boundary, "BOUNDARY")
        found.pop("content-length")
    found["body"] = body
    return {name: tidy(value) for name, value in found.items()}


def tidy(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = re.sub(r"[?&]_state=[^&]*", "", value)
    value = re.sub(r"127\.0\.0\.1:\d+", "HOST", value)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", value)


@pytest.mark.parametrize(("name", "step"), list(zip(NAMES, STEPS, strict=True)), ids=NAMES)
def test_same_answer(played: dict[str, tuple[Answer | None, Answer | None]], name: str, step: Step) -> None:
    theirs, own = (facts(answer, step) for answer in played[name])

    known = DIFFERENCES.get(str(step))

    if known is None:
        assert own == theirs
    else:
        assert (theirs["status"], own["status"]) == known[:2]
        assert own != theirs, f"no longer a difference: {known[2]}"


def test_every_listed_difference_names_a_step() -> None:
    assert DIFFERENCES.keys() <= {str(step) for step in STEPS}
