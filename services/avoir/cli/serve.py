"""`avoir serve`: run the service."""

from avoir.cli.base.access import BROKERS, DSN, load_settings


def serve() -> int:
    """Run the service: read the topics, decide, publish, expire; until SIGTERM.

    Example: `avoir serve`
    """
    from avoir.process.serve import serve as run

    return run(load_settings(DSN, BROKERS))
