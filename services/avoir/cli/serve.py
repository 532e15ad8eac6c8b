"""`avoir serve`: run the service."""

from avoir.cli.base.access import BROKERS, DSN, load_settings, names_of


def serve() -> int:
    """Run the service until SIGTERM: read the topics, decide, publish, expire.

    Example: `avoir serve`
    """
    from avoir.process.serve import serve as run

    settings = load_settings(DSN, BROKERS)
    names_of(settings)  # ends with one line here if a name is invalid, instead of a traceback later
    return run(settings)
