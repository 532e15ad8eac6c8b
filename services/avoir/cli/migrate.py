"""`avoir migrate`: bring the database schema up to date."""

from avoir.cli.base.access import DSN, load_settings, postgres_failures
from avoir.cli.base.exits import Exit, not_found
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import print_json, say
from avoir.postgres.migrate import MigrationChangedError
from avoir.postgres.migrate import migrate as apply_migrations


async def migrate(*, json: AsJson = False) -> int:
    """Bring the database schema up to date. Safe at any time, even from several processes at once.

    Example: `avoir migrate`
    """
    settings = load_settings(DSN)
    async with postgres_failures(settings):
        try:
            applied = await apply_migrations(settings.postgres_dsn.get_secret_value())
        except MigrationChangedError as error:
            not_found(f"{error}: this program and this database do not match.")
    if json:
        print_json({"applied": applied})
    else:
        say(f"Applied {', '.join(applied)}." if applied else "The database is up to date.")
    return Exit.OK
