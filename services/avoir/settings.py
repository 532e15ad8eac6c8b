"""Every setting of the service, from environment variables that begin with `AVOIR_`."""

from itertools import pairwise
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

import avoir_events as wire
from avoir.core.model.money import parse_decimal
from avoir.core.model.policy import Policy
from avoir.record import MOST_RECORD_BYTES
from avoir_events.policy import MAX_EXPIRY, TimeZone
from avoir_events.scalars import AboveZero, AtLeastZero, Currency

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class KafkaSettings(BaseSettings):
    """Addresses of the brokers, credentials, and limits of the consumer and the relay."""

    kafka_bootstrap_servers: str = Field(
        description="Kafka brokers to bootstrap from: host:port, comma-separated."
    )
    kafka_security_protocol: SecurityProtocol = Field("PLAINTEXT", description="Protocol to the brokers.")
    kafka_sasl_mechanism: SaslMechanism = Field("SCRAM-SHA-256", description="SASL mechanism.")
    kafka_sasl_username: str | None = Field(None, description="SASL user name.")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_ssl_ca_file: str | None = Field(
        None, description="PEM file with the CA certificate; default: the system's CAs."
    )
    kafka_ssl_cert_file: str | None = Field(None, description="PEM file with the client certificate.")
    kafka_ssl_key_file: str | None = Field(None, description="PEM file with the client's private key.")
    kafka_ssl_key_password: SecretStr | None = Field(
        None, description="Password of the client's private key."
    )

    kafka_group_id: str = Field(
        "avoir", min_length=1, description="Consumer group. Its positions are kept in Postgres."
    )
    kafka_group_instance_id: str | None = Field(
        None,
        description="A name that survives restarts, such as a stateful pod's: a process that restarts with it gets its "
        "partitions back at once, without a rebalance.",
    )
    kafka_session_timeout_ms: int = Field(
        10_000,
        ge=1_000,
        description="A process that sends no heartbeat for this long is removed from the group.",
    )
    kafka_heartbeat_interval_ms: int = Field(2_000, ge=100, description="Interval between heartbeats.")
    kafka_rebalance_timeout_ms: int = Field(
        30_000, ge=1_000, description="Maximum time that a rebalance waits for the members."
    )
    kafka_max_records: int = Field(8_000, ge=1, le=10_000, description="Maximum messages in a batch.")
    kafka_max_message_bytes: int = Field(
        900 * 1024, ge=1_024, le=MOST_RECORD_BYTES, description="Larger messages are dead-lettered."
    )

    kafka_topic_prefix: str = Field("", description="Prefix of every topic's default name.")
    kafka_topics: dict[str, str] = Field(
        {},
        description='Renamed topics, without the prefix, as JSON: {"invoice-voided": "billing.voids"}.',
    )
    kafka_partitions: int = Field(
        8, ge=1, description="Partitions of topics created by `avoir topics create`."
    )
    kafka_replication: int | None = Field(
        None,
        ge=1,
        description="Replicas of topics created by `avoir topics create`; default: 3, or the number of brokers if "
        "there are fewer.",
    )

    relay_rows: int = Field(
        2_000, ge=1, le=20_000, description="Maximum outbox rows the relay publishes at a time."
    )
    relay_lease_s: float = Field(
        2.0,
        ge=0.5,
        description="A relay that does not renew its lease for this long loses it; another takes over within a second "
        "after that.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "KafkaSettings":
        # Two heartbeats may be lost before the group drops the process.
        if self.kafka_heartbeat_interval_ms * 3 > self.kafka_session_timeout_ms:
            raise ValueError("the session timeout must be at least three heartbeat intervals")
        sasl = self.kafka_security_protocol.startswith("SASL")
        if sasl and not (self.kafka_sasl_username and self.kafka_sasl_password):
            raise ValueError(f"{self.kafka_security_protocol} needs a SASL user and password")
        return self


class PolicySettings(BaseSettings):
    """Widest scope of the policy keys: the values that apply unless a tenant, owner or invoice sets them."""

    policy_auto_apply: bool = Field(
        True, description="Use available credit when an invoice is finalized automatically."
    )
    policy_credit_as: Literal["balance", "line_item"] = Field(
        "balance",
        description="New credit from bookings and plans: free to use, or a line item on the next invoice.",
    )
    policy_unpaid_change: Literal["wait", "never"] = Field(
        "wait", description="Credit for a change to something unpaid: once it is paid, or never."
    )
    policy_expires_after_days: int | None = Field(
        None,
        ge=1,
        le=MAX_EXPIRY.days,
        description="Days after which credit from bookings, plans and overpayments expires; default: never.",
    )
    policy_proration: Literal["time", "days"] = Field(
        "time", description="Proration of the running period of a plan: by elapsed time, or by whole days."
    )
    policy_time_zone: TimeZone = Field(
        "UTC", description="IANA name of the time zone in which days are counted, such as Europe/Brussels."
    )
    policy_refill_threshold: AtLeastZero | None = Field(
        None,
        description="Request a refill when available credit falls below this amount: a decimal, at least 0.",
    )
    policy_refill_amount: AboveZero | None = Field(
        None, description="Amount of a requested refill: a decimal, above 0."
    )
    policy_refill_currency: Currency | None = Field(
        None, description="ISO 4217 currency of the threshold and the amount."
    )

    @model_validator(mode="after")
    def _refill_is_complete(self) -> "PolicySettings":
        parts = (self.policy_refill_threshold, self.policy_refill_amount, self.policy_refill_currency)
        if any(part is None for part in parts) and any(part is not None for part in parts):
            raise ValueError("threshold, amount and currency of a refill must be set together")
        threshold, amount, currency = parts
        try:
            wire.Policy(refill_threshold=threshold, refill_amount=amount, currency=currency)
        except ValidationError as error:
            raise ValueError(wire.describe(error)) from None
        return self


class Settings(KafkaSettings, PolicySettings):
    """All settings. Unknown variables are ignored; an invalid one ends the program with an error that names it."""

    # Errors show no values, since some are secret.
    model_config = SettingsConfigDict(
        env_prefix="AVOIR_", extra="ignore", validate_default=True, hide_input_in_errors=True
    )

    postgres_dsn: SecretStr = Field(
        description="Address of the database, such as postgresql://user:password@host/database?sslmode=verify-full"
    )
    postgres_pool_size: int = Field(
        4, ge=1, le=50, description="Maximum connections of the read pool (health, metrics)."
    )
    postgres_idle_in_transaction_s: float = Field(
        10.0, gt=0, description="Maximum idle time of a transaction before Postgres ends it."
    )
    postgres_lock_timeout_s: float = Field(15.0, gt=0, description="Maximum wait for a lock.")
    postgres_statement_timeout_s: float = Field(20.0, gt=0, description="Maximum duration of a statement.")
    postgres_command_timeout_s: float = Field(
        25.0, gt=0, description="Maximum wait for an answer from the database."
    )

    http_host: str = Field(
        "127.0.0.1",
        description="Address that serves /livez, /readyz and /metrics; default: this machine only.",
    )
    http_port: int = Field(
        8080, ge=0, le=65_535, description="Port that serves /livez, /readyz and /metrics."
    )

    max_future_s: int = Field(
        24 * 3600,
        ge=0,
        description="Maximum time that a message's `occurred_at` may be ahead of the database clock.",
    )
    ce_source: str = Field(
        "/avoir",
        min_length=1,
        description="`ce_source` of published events. Deployments that share topics need one each.",
    )
    expiry_interval_s: float = Field(
        1.0, gt=0, description="Interval at which the sweep checks for grants to expire or issue."
    )
    expiry_rows: int = Field(
        500, ge=1, le=10_000, description="Maximum overdue grants handled in one transaction."
    )
    unready_after_s: float = Field(
        30.0,
        gt=0,
        description="Time after which the process is not ready: messages wait and their partition makes no progress, "
        "or an event waits to be published.",
    )
    held_after_s: float = Field(
        60.0,
        gt=0,
        description="Time after which an open transaction on an input topic counts as blocking its partition: "
        "an alarm, and the process is not ready.",
    )
    give_up_s: float = Field(
        30.0,
        ge=1,
        description="Time without an answer from the database after which a process leaves its group, until the "
        "database answers again.",
    )
    stuck_after_s: float = Field(
        60.0,
        ge=5,
        description="Time without progress, while messages wait and the database and broker answer, after which the "
        "process exits.",
    )
    shutdown_s: float = Field(
        8.0, gt=0, le=60, description="Maximum time for a clean shutdown after SIGTERM."
    )

    otel: bool = Field(
        False,
        description="OpenTelemetry: one span per batch, exported as the OTEL_ variables say (extra `otel`).",
    )
    log_level: LogLevel = Field("INFO", description="Minimum level of log lines.")

    @field_validator("postgres_dsn")
    @classmethod
    def _dsn_is_valid(cls, dsn: SecretStr) -> SecretStr:
        # Never show any part of the value or of the parser's error: either may contain part of the password.
        if not _is_dsn(dsn.get_secret_value()):
            raise ValueError(
                "must be postgresql://user:password@host:port/database; "
                "write / : @ # ? % in user or password as %2F %3A %40 %23 %3F %25"
            )
        return dsn

    @model_validator(mode="after")
    def _timeouts_rise(self) -> "Settings":
        # They must fire in this order: see `Database`.
        names = ("idle_in_transaction_s", "lock_timeout_s", "statement_timeout_s", "command_timeout_s")
        for first, second in pairwise(f"postgres_{name}" for name in names):
            if getattr(self, first) >= getattr(self, second):
                raise ValueError(f"AVOIR_{first.upper()} must be below AVOIR_{second.upper()}")
        return self


def _is_dsn(dsn: str) -> bool:
    """Check that the database client can parse a DSN: hosts are separated by commas, ports are numbers."""
    try:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return False
    user, _, hosts = parts.netloc.rpartition("@")
    if parts.scheme not in ("postgresql", "postgres") or "@" in user or parts.fragment:
        return False
    ports = [_port(host) for host in hosts.split(",")] + query.get("port", [""])[0].split(",")
    return all(port == "" or (port.isascii() and port.isdigit() and int(port) < 65_536) for port in ports)


def _port(host: str) -> str:
    """The port of a host, after its name or after its address in brackets; empty if there is none."""
    return host.rpartition("]")[2].partition(":")[2]


def policy_of(settings: PolicySettings) -> Policy:
    """Widest scope of the policy keys."""
    return Policy(
        auto_apply=settings.policy_auto_apply,
        credit_as=settings.policy_credit_as,
        unpaid_change=settings.policy_unpaid_change,
        expires_after_days=settings.policy_expires_after_days,
        proration=settings.policy_proration,
        time_zone=settings.policy_time_zone,
        refill_threshold=_micros(settings.policy_refill_threshold),
        refill_amount=_micros(settings.policy_refill_amount),
        refill_currency=settings.policy_refill_currency,
    )


def _micros(amount: str | None) -> int | None:
    return None if amount is None else parse_decimal(amount)
