"""The `avoir` program, which `python -m avoir` is too."""

import os
import sys
from importlib.metadata import version

from avoir.cli.base.exits import Exit


def main() -> None:
    """Run one command, and exit with its code."""
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads no more has seen enough, as after `| head`; what is left unwritten must not fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    sys.exit(code)


def _run() -> int:
    if sys.argv[1:] == ["--version"]:
        # Scripts and probes ask for it often, and the command line takes long to import.
        print(version("avoir"))
        return Exit.OK
    from avoir.cli.app import run

    return run()


if __name__ == "__main__":
    main()
