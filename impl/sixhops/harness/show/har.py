"""The HTTP hops of transcripts as a HAR 1.2 document.

Source: the HTTP Archive 1.2 specification (http://www.softwareishard.com/blog/har-12-spec/). Fields of our own begin with
an underscore, as it asks: `_hop`, `_step`, `_client`, `_error`.
"""

from __future__ import annotations

import base64
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sixhops.harness.show.calls import http_calls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.run.transcript import Transcript
    from sixhops.harness.show.calls import HttpCall

__all__ = ["har_of"]


def har_of(transcripts: Iterable[Transcript]) -> dict[str, Any]:
    """Return the HTTP calls of `transcripts` as JSON data: one page a scenario, one entry a call.

    The time that a call took is all given as waiting, since taps don't know when its parts passed.
    """
    pages: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for transcript in transcripts:
        page = f"page_{len(pages) + 1}"
        pages.append(
            {
                "startedDateTime": transcript.clock.at(transcript.clock.monotonic).isoformat(),
                "id": page,
                "title": f"{transcript.scenario} on {transcript.header['target']['name']}",
                "pageTimings": {"onContentLoad": -1, "onLoad": -1},
            }
        )
        entries += [
            {
                "pageref": page,
                "startedDateTime": transcript.clock.at(call.started).isoformat(),
                **_entry(call),
            }
            for call in http_calls(transcript)
        ]
    creator = {"name": "sixhops", "version": version("sixhops")}
    return {"log": {"version": "1.2", "creator": creator, "pages": pages, "entries": entries}}


def _entry(call: HttpCall) -> dict[str, Any]:
    took = round(max(0.0, call.ended - call.started) * 1000, 3)
    entry: dict[str, Any] = {
        "time": took,
        "request": _request(call),
        "response": _response(call),
        "cache": {},
        "timings": {"send": 0, "wait": took, "receive": 0},
        "_hop": call.hop,
        "_client": call.client,
        "_step": f"{call.step + 1}. {call.step_name}",
    }
    if call.error is not None:
        entry["_error"] = call.error
    return entry


def _request(call: HttpCall) -> dict[str, Any]:
    path, _, query = call.target.partition("?")
    host = next((value for name, value in call.request_headers.items() if name.lower() == "host"), call.hop)
    # A proxy's form has the whole address in the request line.
    url = call.target if "://" in path else f"http://{host}{call.target}"
    request: dict[str, Any] = {
        "method": call.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(call.request_headers.items()),
        "queryString": _pairs(parse_qsl(query, keep_blank_values=True)),
        "headersSize": -1,
        "bodySize": call.request_size,
    }
    if call.request_body:
        # HAR has no encoding for what was posted, so bytes that are no text become a comment's matter.
        text, encoding = _text(call.request_body)
        request["postData"] = {"mimeType": _kind(call.request_headers), "params": [], "text": text}
        if encoding:
            request["postData"]["comment"] = "the text is base64"
    return request


def _response(call: HttpCall) -> dict[str, Any]:
    text, encoding = _text(call.response_body)
    content: dict[str, Any] = {
        "size": max(0, call.response_size),
        "mimeType": _kind(call.response_headers),
        "text": text,
    }
    if encoding:
        content["encoding"] = encoding
    return {
        "status": max(0, call.status),
        "statusText": call.reason,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(call.response_headers.items()),
        "content": content,
        "redirectURL": call.response_headers.get("location", ""),
        "headersSize": -1,
        "bodySize": call.response_size,
    }


def _pairs(items: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in items]


def _kind(headers: dict[str, str]) -> str:
    return next((value for name, value in headers.items() if name.lower() == "content-type"), "")


def _text(body: str | bytes) -> tuple[str, str]:
    if isinstance(body, str):
        return body, ""
    try:
        return body.decode(), ""
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), "base64"
