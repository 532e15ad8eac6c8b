"""How commands reach the database and the broker, and what they say when they cannot."""

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
PLACEHOLDERS = {
    DSN: ("postgres_dsn", "postgresql://not-set"),
    BROKERS: ("kafka_bootstrap_servers", "not-set:0"),
}
CLOSE_S = 5

Role = Literal["avoir_service", "avoir_readonly"]


def load_settings(*needed: str) -> Settings:
    """The settings; of the two addresses only those needed must be there."""
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
    """Where the database is, for a command that runs statements of up to so long."""
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
    """A connection for one command; ends with exit code 3 where the database cannot be used."""
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
    """Turns what Postgres and the network raise into one line that names the setting to check."""
    place = place_of(settings.postgres_dsn.get_secret_value())
    try:
        yield
    except (
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.InvalidSchemaNameError,
    ) as error:
        unreachable(f"The database at {place} is not up to date ({error}): run `avoir migrate`.")
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        unreachable(
            f"Postgres at {place} does not let us in ({error}): check the user and password in {DSN}."
        )
    except (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError) as error:
        unreachable(f"The database at {place} lacks a role or setting ({error}): run `avoir migrate`.")
    except asyncpg.InsufficientPrivilegeError as error:
        unreachable(
            f"The database user may not do this ({error}): check the user in {DSN}, or run `avoir migrate`."
        )
    except asyncpg.QueryCanceledError as error:
        unreachable(f"Postgres at {place} took too long ({error}).")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        unreachable(f"Postgres at {place} cannot be used ({words_of(error)}): check {DSN}.")


def place_of(dsn: str) -> str:
    """Host, port and database of a DSN, without user and password."""
    try:
        parts = urlsplit(dsn)
        return f"{parts.hostname or 'the local socket'}:{parts.port or 5432}{parts.path}"
    except ValueError:
        return "the address given"


def words_of(error: BaseException) -> str:
    """What an error says, or else its name."""
    return str(error).strip().rstrip(".") or type(error).__name__


def names_of(settings: Settings) -> "TopicNames":
    """The topics' actual names."""
    from avoir.kafka.topics import TopicNames

    try:
        return TopicNames(settings.kafka_topic_prefix, settings.kafka_topics)
    except ValueError as error:
        refuse(f"AVOIR_KAFKA_TOPICS: {error}")


def kafka_client(settings: Settings) -> "Client":
    """How to connect to the brokers."""
    from avoir.kafka.client import client_of

    quiet_kafka()
    try:
        return client_of(settings)
    except OSError as error:
        refuse(f"A file in the AVOIR_KAFKA_SSL_ settings cannot be read ({error}).")


def quiet_kafka() -> None:
    """The client logs what a command says better in one line."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@asynccontextmanager
async def kafka_failures(settings: Settings) -> AsyncIterator[None]:
    """Turns what the broker's client raises into one line that names the setting to check."""
    from aiokafka.errors import KafkaError

    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        unreachable(
            f"Kafka at {settings.kafka_bootstrap_servers} cannot be used ({words_of(error)}): check {BROKERS}; a wrong "
            "password or certificate looks the same."
        )
