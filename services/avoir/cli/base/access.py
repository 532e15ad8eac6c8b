"""Connections of commands to the database and the broker, and their error messages."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import asyncpg
from pydantic import ValidationError

from avoir.cli.base.exits import refuse, unreachable
from avoir.postgres.connect import Connection, Database
from avoir.settings import Settings

if TYPE_CHECKING:
    from avoir.kafka.client import Client
    from avoir.kafka.topics import TopicNames

DSN, BROKERS = "AVOIR_POSTGRES_DSN", "AVOIR_KAFKA_BOOTSTRAP_SERVERS"
# Settings requires both addresses; a command that needs only one gets a placeholder for the other.
PLACEHOLDERS = {
    DSN: ("postgres_dsn", "postgresql://not-set"),
    BROKERS: ("kafka_bootstrap_servers", "not-set:0"),
}
CLOSE_S = 5

Role = Literal["avoir_service", "avoir_readonly"]


def load_settings(*needed: str) -> Settings:
    """Read the settings; only the addresses that the command needs must be set. Ends with exit code 2."""
    absent = {DSN, BROKERS} - set(needed) - {name.upper() for name in os.environ}
    given: dict[str, Any] = dict(PLACEHOLDERS[name] for name in absent)
    try:
        return Settings(**given)
    except ValidationError as error:
        refuse("\n".join(_setting_problem(detail["loc"], detail["msg"]) for detail in error.errors()))


def _setting_problem(place: tuple[int | str, ...], problem: str) -> str:
    name = f"AVOIR_{'.'.join(map(str, place)).upper()}" if place else "AVOIR_ settings"
    return f"{name} is not set." if problem == "Field required" else f"{name}: {problem}"


def database_of(settings: Settings, role: Role = "avoir_readonly", patience_s: float = 30.0) -> Database:
    """The database, for a command whose statements take up to `patience_s` seconds."""
    return Database(
        settings.postgres_dsn,
        role=role,
        application_name="avoir-cli",
        idle_in_transaction_timeout_s=patience_s,
        statement_timeout_s=patience_s,
        command_timeout_s=patience_s + 5,
    )


@asynccontextmanager
async def connected(
    settings: Settings, role: Role = "avoir_readonly", patience_s: float = 30.0
) -> AsyncIterator[Connection]:
    """Open a connection for one command; ends with exit code 3 if the database is not available."""
    async with postgres_failures(settings):
        connection = await database_of(settings, role, patience_s).connect()
        try:
            yield connection
        finally:
            await _close(connection)


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=CLOSE_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


@asynccontextmanager
async def postgres_failures(settings: Settings) -> AsyncIterator[None]:
    """Turn an error of Postgres or the network into one line that names the setting to check."""
    place = place_of(settings.postgres_dsn.get_secret_value())
    try:
        yield
    except (
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.InvalidSchemaNameError,
    ) as error:
        unreachable(
            f"The schema of the database at {place} is not up to date ({error}): run `avoir migrate`."
        )
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        unreachable(f"Postgres at {place} refuses the login ({error}): check the user and password in {DSN}.")
    except (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError) as error:
        unreachable(f"The database at {place} lacks a role or setting ({error}): run `avoir migrate`.")
    except asyncpg.InsufficientPrivilegeError as error:
        unreachable(
            f"The database user lacks a privilege ({error}): check the user in {DSN}, or run `avoir migrate`."
        )
    except asyncpg.QueryCanceledError as error:
        unreachable(f"Postgres at {place} did not answer in time ({error}).")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        unreachable(f"Postgres at {place} is not available ({error_text(error)}): check {DSN}.")


def place_of(dsn: str) -> str:
    """Host, port and database of a DSN, without user and password."""
    try:
        parts = urlsplit(dsn)
        return f"{parts.hostname or 'the local socket'}:{parts.port or 5432}{parts.path}"
    except ValueError:
        return "the address given"


def error_text(error: BaseException) -> str:
    """Message of an error, or its class name if it has none."""
    return str(error).strip().rstrip(".") or type(error).__name__


def names_of(settings: Settings) -> "TopicNames":
    """The topics' actual names."""
    from avoir.kafka.topics import TopicNames

    try:
        return TopicNames(settings.kafka_topic_prefix, settings.kafka_topics)
    except ValueError as error:
        refuse(f"AVOIR_KAFKA_TOPICS: {error}")


def kafka_client(settings: Settings) -> "Client":
    """Connection options of the Kafka client; ends with exit code 2 if a TLS file can't be read."""
    from avoir.kafka.client import client_of

    quiet_kafka()
    try:
        return client_of(settings)
    except OSError as error:
        refuse(f"A file named in the AVOIR_KAFKA_SSL_ settings can't be read ({error}).")


def quiet_kafka() -> None:
    """Silence the client's log: the command's own message is one line and clearer."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@asynccontextmanager
async def kafka_failures(settings: Settings) -> AsyncIterator[None]:
    """Turn an error of the Kafka client into one line that names the setting to check."""
    from aiokafka.errors import KafkaError

    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        unreachable(
            f"Kafka at {settings.kafka_bootstrap_servers} is not available ({error_text(error)}): check {BROKERS}. "
            "A wrong password or certificate causes the same error."
        )
