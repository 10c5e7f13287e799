"""Addresses as Go reads them."""

from __future__ import annotations

import pytest

from sixhops.dockerd.gourl import GoUrlError, Url, parse


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://h:1/p?q#f", Url("http", "h:1", "/p", "q")),
        ("HTTP://u:p@h", Url("http", "h", "", "")),
        ("http://[::1]:5/x", Url("http", "[::1]:5", "/x", "")),
        ('http://a"<>b/%41', Url("http", 'a"<>b', "/%41", "")),
        ("http:opaque", Url("http", "", "opaque", "")),
        ("http:///p", Url("http", "", "/p", "")),
        ("/p", Url("", "", "/p", "")),
        ("http://h:", Url("http", "h:", "", "")),
        ("http://%C3%A9", Url("http", "é", "", "")),
    ],
)
def test_parse_takes_apart(text: str, url: Url) -> None:
    assert parse(text) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://a\0", 'parse "http://a\\x00": net/url: invalid control character in URL'),
        (":x", 'parse ":x": missing protocol scheme'),
        ("a b:c", 'parse "a b:c": first path segment in URL cannot contain colon'),
        ("http://h:x/", 'parse "http://h:x/": invalid port ":x" after host'),
        ("http://[::1", "parse \"http://[::1\": missing ']' in host"),
        ("http://%zz", 'parse "http://%zz": invalid URL escape "%zz"'),
        ("http://%41", 'parse "http://%41": invalid URL escape "%41"'),
        ("http://x y", 'parse "http://x y": invalid character " " in host name'),
        ("http://a b@h", 'parse "http://a b@h": net/url: invalid userinfo'),
        ("http://h/%4", 'parse "http://h/%4": invalid URL escape "%4"'),
    ],
)
def test_parse_refuses_in_go_s_words(text: str, message: str) -> None:
    with pytest.raises(GoUrlError) as caught:
        parse(text)
    assert str(caught.value) == message
