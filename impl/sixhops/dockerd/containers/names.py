"""Names of containers: what is allowed, and what is made up when nobody gives one: `adjective_surname`."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Container

__all__ = ["check_name", "generate"]

_ALLOWED = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_ADJECTIVES = tuple(
    """
    able agile airy ample apt autumn balanced bold brave breezy bright brisk calm candid careful clear clever cosmic cozy
    crisp curious daring deft diligent eager early earnest easy electric fair famous fine firm fluent fond frank fresh frosty
    funny gentle glad golden graceful grand happy hardy hearty helpful honest humble ideal jolly keen kind lasting lively
    loyal lucid lucky magic mellow merry mild modest neat nimble noble open patient peaceful playful polite proud quick
    quiet radiant ready rustic serene sharp silent simple sincere smart snug sober solid spry stable steady sunny swift
    tidy tranquil true upbeat vivid warm wise witty zesty
    """.split()
)
_SURNAMES = tuple(
    """
    abel aiken allen babbage backus bell bessel bohr boole borg brahe cantor cauchy cerf cook curie dahl darwin descartes
    diffie dijkstra dirac eckert engelbart erdos euclid euler faraday fermat fermi feynman fourier galileo galois gauss
    germain godel hamilton hamming hawking heisenberg hellman hertz hilbert hoare hopper huffman huygens iverson jacobi
    joule kay kepler kernighan kilby kleene knuth lamarr lamport laplace leibniz liskov lovelace markov maxwell mccarthy
    mendel minsky morse nash newton noether ohm pascal pasteur pauli perlis planck postel ramanujan riemann ritchie
    sagan shannon stallman steele sutherland tesla thompson torvalds turing vaughan volta wiles wirth yonath zuse
    """.split()
)
_ATTEMPTS = 6


def check_name(name: str) -> str:
    """Return `name` without a leading slash. Raises EngineError 400; the pattern in the text is the engine's own."""
    bare = name.removeprefix("/")
    if not _ALLOWED.fullmatch(bare):
        raise invalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def generate(
    taken: Container[str], fallback: str, choose: Callable[[tuple[str, ...]], str] = secrets.choice
) -> str:
    """Return a name that is not in `taken`: after some collisions with a digit behind it, and in the end `fallback`."""
    for attempt in range(_ATTEMPTS):
        name = f"{choose(_ADJECTIVES)}_{choose(_SURNAMES)}"
        if attempt:
            name += choose(tuple("0123456789"))
        if name not in taken:
            return name
    return fallback
