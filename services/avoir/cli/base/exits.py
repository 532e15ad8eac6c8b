"""Exit codes that scripts rely on, and errors printed as one line."""

from enum import IntEnum
from typing import NoReturn


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FOUND = 1
    USAGE = 2
    UNREACHABLE = 3


class Failure(Exception):
    """Ends the command with a message for people instead of a traceback."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def refuse(message: str) -> NoReturn:
    """End with exit code 2: the command line or a setting is invalid."""
    raise Failure(Exit.USAGE, message)


def not_found(message: str) -> NoReturn:
    """End with exit code 1: nothing was found."""
    raise Failure(Exit.FOUND, message)


def unreachable(message: str) -> NoReturn:
    """End with exit code 3: the database or the broker is not available."""
    raise Failure(Exit.UNREACHABLE, message)
