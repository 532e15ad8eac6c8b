"""How a command ends: exit codes that scripts can rely on, and failures told in one line."""

from enum import IntEnum
from typing import NoReturn


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FOUND = 1
    USAGE = 2
    UNREACHABLE = 3


class Failure(Exception):
    """Ends the command with a message for people, and never with a traceback."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def refuse(message: str) -> NoReturn:
    """End with exit code 2: the command was not called as it should be."""
    raise Failure(Exit.USAGE, message)


def not_found(message: str) -> NoReturn:
    """End with exit code 1: what was asked for is not there."""
    raise Failure(Exit.FOUND, message)


def unreachable(message: str) -> NoReturn:
    """End with exit code 3: the database or the broker cannot be used."""
    raise Failure(Exit.UNREACHABLE, message)
