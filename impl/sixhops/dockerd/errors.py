"""Errors that the Engine API answers with: a status and a message, both as Docker's engine gives them."""

from __future__ import annotations

__all__ = ["EngineError", "conflict", "invalid", "not_found", "system"]


class EngineError(Exception):
    """A request that can't be fulfilled; `status` is the HTTP status, `message` the text for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def invalid(message: str) -> EngineError:
    """The request makes no sense (400)."""
    return EngineError(400, message)


def not_found(message: str) -> EngineError:
    """The object asked for does not exist (404)."""
    return EngineError(404, message)


def conflict(message: str) -> EngineError:
    """The object's state forbids it (409)."""
    return EngineError(409, message)


def system(message: str) -> EngineError:
    """The engine or something behind it failed (500)."""
    return EngineError(500, message)
