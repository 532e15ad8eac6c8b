"""`avoir serve`: run the service."""

from avoir.cli.base.access import BROKERS, DSN, load_settings, names_of


def serve() -> int:
    """Run the service: read the topics, decide, publish, expire; until SIGTERM.

    Example: `avoir serve`
    """
    from avoir.process.serve import serve as run

    settings = load_settings(DSN, BROKERS)
    names_of(settings)  # wrong names end it here, in one line
    return run(settings)
