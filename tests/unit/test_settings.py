"""Settings come from AVOIR_ variables; wrong ones are refused by name."""

import pytest
from pydantic import SecretStr, ValidationError

from avoir.kafka.client import client_of
from avoir.kafka.topics import TopicNames
from avoir.settings import Settings

NEEDED = {"AVOIR_KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2", "AVOIR_POSTGRES_DSN": "postgresql://u:secret@h/d"}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description == description.strip()


def test_only_the_two_addresses_are_needed(settings: Settings) -> None:
    required = {name for name, field in Settings.model_fields.items() if field.is_required()}
    assert required == {"kafka_bootstrap_servers", "postgres_dsn"}
    assert client_of(settings).bootstrap_servers == ["a:1", "b:2"]


def test_secrets_do_not_show(settings: Settings) -> None:
    assert "secret" not in repr(settings)
    secret = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert secret == ["kafka_sasl_password", "kafka_ssl_key_password", "postgres_dsn"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kafka_security_protocol", "SASL_SSL"),
        ("kafka_heartbeat_interval_ms", 9_000),
        ("policy_refill_amount", "10"),
        ("policy_proration", "weeks"),
        ("http_port", 70_000),
        ("log_level", "LOUD"),
    ],
)
def test_a_wrong_setting_is_refused(settings: Settings, name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Settings(**{**settings.model_dump(), name: value})


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_and_tls_reach_the_clients(settings: Settings, mechanism: str) -> None:
    changed = settings.model_copy(
        update={
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": mechanism,
            "kafka_sasl_username": "avoir",
            "kafka_sasl_password": SecretStr("pw"),
        }
    )
    options = client_of(changed).options()
    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == mechanism
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("avoir", "pw")
    assert options["ssl_context"].check_hostname


def test_tls_alone_and_sasl_alone(settings: Settings) -> None:
    tls = client_of(settings.model_copy(update={"kafka_security_protocol": "SSL"})).options()
    assert tls["security_protocol"] == "SSL"
    sasl = settings.model_copy(
        update={
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_username": "u",
            "kafka_sasl_password": SecretStr("p"),
        }
    )
    options = client_of(sasl).options()
    assert (options["security_protocol"], options["ssl_context"]) == ("SASL_PLAINTEXT", None)


def test_topics_are_renamed_one_by_one_or_by_prefix() -> None:
    names = TopicNames("eu-", {"invoice-voided": "billing.voids"})
    assert names.actual("invoice-voided") == "billing.voids"
    assert names.actual("credit-issued") == "eu-credit-issued"
    assert names.default("billing.voids") == "invoice-voided"
    assert names.default("somebody-elses") == "somebody-elses"


@pytest.mark.parametrize("renamed", [{"no-such-topic": "x"}, {"invoice-voided": "credit-issued"}])
def test_names_that_cannot_be_are_refused(renamed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="topic"):
        TopicNames("", renamed)
