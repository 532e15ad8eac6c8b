"""Every setting of the service, from environment variables that begin with `AVOIR_`."""

from itertools import pairwise
from typing import Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

import avoir_events as wire
from avoir.core.model.money import parse_decimal
from avoir.core.model.policy import Policy
from avoir.record import MOST_RECORD_BYTES
from avoir_events.policy import MAX_EXPIRY
from avoir_events.scalars import AboveZero, AtLeastZero, Currency

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class KafkaSettings(BaseSettings):
    """The broker: where it is, who we are there, and the consumer's and the relay's limits."""

    kafka_bootstrap_servers: str = Field(description="Brokers to begin with: host:port, separated by commas.")
    kafka_security_protocol: SecurityProtocol = Field("PLAINTEXT", description="Protocol to the brokers.")
    kafka_sasl_mechanism: SaslMechanism = Field("SCRAM-SHA-256", description="SASL mechanism.")
    kafka_sasl_username: str | None = Field(None, description="The SASL user.")
    kafka_sasl_password: SecretStr | None = Field(None, description="The SASL user's password.")
    kafka_ssl_ca_file: str | None = Field(
        None, description="PEM file of the CA; the system's CAs if not set."
    )
    kafka_ssl_cert_file: str | None = Field(None, description="PEM file of the client's certificate.")
    kafka_ssl_key_file: str | None = Field(None, description="PEM file of the client's key.")
    kafka_ssl_key_password: SecretStr | None = Field(None, description="The password of the client's key.")

    kafka_group_id: str = Field(
        "avoir", min_length=1, description="Consumer group; its offsets are in Postgres."
    )
    kafka_group_instance_id: str | None = Field(
        None,
        description="A name that survives restarts, such as a stateful pod's: a process that comes back under it gets "
        "its partitions back at once, without a rebalance.",
    )
    kafka_session_timeout_ms: int = Field(
        10_000, ge=1_000, description="The group drops a process that has been silent for this long."
    )
    kafka_heartbeat_interval_ms: int = Field(2_000, ge=100, description="Time between heartbeats.")
    kafka_rebalance_timeout_ms: int = Field(
        30_000, ge=1_000, description="Longest wait of a rebalance for its members."
    )
    kafka_max_records: int = Field(8_000, ge=1, le=10_000, description="Most messages of one batch.")
    kafka_max_message_bytes: int = Field(
        900 * 1024, ge=1_024, le=MOST_RECORD_BYTES, description="Larger messages are dead-lettered."
    )

    kafka_topic_prefix: str = Field("", description="Put before every topic's default name.")
    kafka_topics: dict[str, str] = Field(
        {},
        description='Other names of topics, without prefix, as JSON: {"invoice-voided": "billing.voids"}.',
    )
    kafka_partitions: int = Field(8, ge=1, description="Partitions of topics made by `avoir topics create`.")
    kafka_replication: int | None = Field(
        None,
        ge=1,
        description="Replicas of topics made by `avoir topics create`: 3 if not set, or as many as there are brokers.",
    )

    relay_rows: int = Field(
        2_000, ge=1, le=20_000, description="Most outbox rows the relay publishes at a time."
    )
    relay_lease_s: float = Field(
        2.0,
        ge=0.5,
        description="A silent relay loses its lease after this time; another begins within a second more.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "KafkaSettings":
        if self.kafka_heartbeat_interval_ms * 3 > self.kafka_session_timeout_ms:
            raise ValueError("the session timeout must be at least three heartbeat intervals")
        sasl = self.kafka_security_protocol.startswith("SASL")
        if sasl and not (self.kafka_sasl_username and self.kafka_sasl_password):
            raise ValueError(f"{self.kafka_security_protocol} needs a SASL user and password")
        return self


class PolicySettings(BaseSettings):
    """The widest scope of the policy keys: what counts where no tenant, owner or invoice says otherwise."""

    policy_auto_apply: bool = Field(True, description="Use available credit when an invoice is finalized.")
    policy_credit_as: Literal["balance", "line_item"] = Field(
        "balance", description="What new credit becomes."
    )
    policy_unpaid_change: Literal["wait", "never"] = Field(
        "wait", description="A change to something unpaid: credit comes with the payment, or never."
    )
    policy_expires_after_days: int | None = Field(
        None,
        ge=1,
        le=MAX_EXPIRY.days,
        description="Credit from bookings, plans and overpayment expires after so many days.",
    )
    policy_proration: Literal["time", "days"] = Field(
        "time", description="Proration of plans: by time, or by whole days."
    )
    policy_time_zone: str = Field("UTC", description="IANA name of the zone in which days are counted.")
    policy_refill_threshold: AtLeastZero | None = Field(
        None, description="Ask for a refill below this amount: a decimal, at least 0."
    )
    policy_refill_amount: AboveZero | None = Field(
        None, description="Amount that a refill asks for: a decimal, above 0."
    )
    policy_refill_currency: Currency | None = Field(
        None, description="ISO 4217 currency of the two refill amounts."
    )

    @field_validator("policy_time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name != "UTC" and name not in available_timezones():
            raise ValueError(f"{name!r} is no IANA time zone known here, such as Europe/Brussels")
        return name

    @model_validator(mode="after")
    def _refill_is_whole(self) -> "PolicySettings":
        parts = (self.policy_refill_threshold, self.policy_refill_amount, self.policy_refill_currency)
        if any(part is None for part in parts) and any(part is not None for part in parts):
            raise ValueError("a refill needs its threshold, amount and currency")
        threshold, amount, currency = parts
        try:
            wire.Policy(refill_threshold=threshold, refill_amount=amount, currency=currency)
        except ValidationError as error:
            raise ValueError(wire.describe(error)) from None
        return self


class Settings(KafkaSettings, PolicySettings):
    """All settings together; unknown ones are left alone, wrong ones end the program with their names."""

    # Values are left out of errors, since some are secret.
    model_config = SettingsConfigDict(
        env_prefix="AVOIR_", extra="ignore", validate_default=True, hide_input_in_errors=True
    )

    postgres_dsn: SecretStr = Field(
        description="Address of the database: postgresql://user:password@host/database?sslmode=verify-full"
    )
    postgres_pool_size: int = Field(
        4, ge=1, le=50, description="Most connections for reading (health, metrics)."
    )
    postgres_idle_in_transaction_s: float = Field(
        10.0, gt=0, description="The database ends a transaction that has done nothing for this long."
    )
    postgres_lock_timeout_s: float = Field(15.0, gt=0, description="Longest wait for a lock.")
    postgres_statement_timeout_s: float = Field(20.0, gt=0, description="Longest time of one statement.")
    postgres_command_timeout_s: float = Field(
        25.0, gt=0, description="Longest wait for the database's answer."
    )

    http_host: str = Field(
        "127.0.0.1", description="Address of /livez, /readyz and /metrics: this machine only if not set."
    )
    http_port: int = Field(8080, ge=0, le=65_535, description="Port of /livez, /readyz and /metrics.")

    max_future_s: int = Field(
        24 * 3600, ge=0, description="Most time that a message may be ahead of the clock."
    )
    ce_source: str = Field(
        "/avoir", min_length=1, description="`ce_source` of the events that are published."
    )
    expiry_interval_s: float = Field(
        1.0, gt=0, description="Pause between two looks for credit that has expired."
    )
    expiry_rows: int = Field(
        500, ge=1, le=10_000, description="Most overdue grants looked at in one transaction."
    )
    unready_after_s: float = Field(
        30.0,
        gt=0,
        description="Not ready when messages wait and their partition has not moved, or an event has waited to be "
        "published, for so long.",
    )
    held_after_s: float = Field(
        60.0,
        gt=0,
        description="A transaction on a topic in that stays open for so long holds its partition: alarmed, not ready.",
    )
    give_up_s: float = Field(
        30.0,
        ge=1,
        description="A process that the database has not answered for so long leaves the group until it does.",
    )
    stuck_after_s: float = Field(
        60.0,
        ge=5,
        description="The process ends when messages wait, all answer, and nothing moved for so long.",
    )
    shutdown_s: float = Field(8.0, gt=0, le=60, description="Most time to end cleanly after SIGTERM.")

    otel: bool = Field(
        False,
        description="OpenTelemetry: a span per batch, exported as the OTEL_ variables say (extra `otel`).",
    )
    log_level: LogLevel = Field("INFO", description="Least severe log lines that are written.")

    @field_validator("postgres_dsn")
    @classmethod
    def _dsn_can_be_read(cls, dsn: SecretStr) -> SecretStr:
        # Never a word of the value, nor of the parser's error: either may hold a part of the password.
        if not _is_dsn(dsn.get_secret_value()):
            raise ValueError(
                "must be postgresql://user:password@host:port/database; "
                "characters like / : @ # ? % in user or password are written as %2F %3A %40 %23 %3F %25"
            )
        return dsn

    @model_validator(mode="after")
    def _timeouts_rise(self) -> "Settings":
        names = ("idle_in_transaction_s", "lock_timeout_s", "statement_timeout_s", "command_timeout_s")
        for first, second in pairwise(f"postgres_{name}" for name in names):
            if getattr(self, first) >= getattr(self, second):
                raise ValueError(f"AVOIR_{first.upper()} must be below AVOIR_{second.upper()}")
        return self


def _is_dsn(dsn: str) -> bool:
    """Whether the database's client will be able to read it: hosts are separated by commas, ports are numbers."""
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
    """What stands after a host's name or after its address in brackets."""
    return host.rpartition("]")[2].partition(":")[2]


def policy_of(settings: PolicySettings) -> Policy:
    """The widest scope of the policy keys."""
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
