"""What must differ between two runs of the same command line, put out of sight: ids, times, random names."""

from __future__ import annotations

import re

__all__ = ["normal"]

_PATTERNS = (
    # docker's own log line about its own clean-up after a start that failed
    (r'^time="[^"]*" level=error msg="error waiting for container: [^\n]*\n', ""),
    (r"\b[0-9a-f]{64}\b", "ID64"),
    (r"^(root +)?\d+( +\d+)?(?= )", "PID"),
    (r"(?<=STIME) +TTY", " TTY"),
    (r"\b[0-9a-f]{12}\b", "ID12"),
    (r"(?<=docker-import-)\d+|(?<=\.docker_temp_)\w+", "RANDOM"),
    (r"\d{4}-\d\d-\d\d[T ][\d:]{8}(\.\d+)?( ?[+-]\d{4} \w+|Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"(Less than a second|About a minute|an hour|\d+ (second|minute|hour)s?)( ago)?\b *", "SPAN "),
    (r"\b[a-z]+_[a-z]+\d?\b(?=\s|$)", "RANDOM_NAME"),
    (r"(?<=STIME|\d\d:\d\d) +", " "),
)


def normal(text: str, *, unordered: bool = False) -> str:
    """Return `text` without what depends on the moment; `unordered` sorts its lines."""
    for pattern, word in _PATTERNS:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    # Go's maps come in random order; which steps of a pull are seen depends on the moment
    text = re.sub(
        r"(?<=^ Runtimes: ).*$",
        lambda found: " ".join(sorted(found[0].split())),
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(r"^ID12: (Waiting|Verifying Checksum|Download complete)\n", "", text, flags=re.MULTILINE)
    if "SPAN" in text:
        # the width of a column of times depends on the moment
        text = re.sub(r" {3,}", "   ", text)
    return "\n".join(sorted(text.splitlines())) if unordered else text
