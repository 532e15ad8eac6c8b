"""Settings come from AVOIR_ variables; wrong ones are refused by name."""

import pytest
from pydantic import SecretStr, ValidationError

from avoir.cli.base.access import BROKERS, DSN, load_settings
from avoir.cli.base.exits import Failure
from avoir.kafka.client import client_of
from avoir.kafka.topics import TopicNames
from avoir.settings import Settings, policy_of

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


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("expires_after_days", 36_501, "less than or equal to 36500"),
        ("refill_threshold", "0.0000001", "match pattern"),
        ("refill_threshold", "1e30", "match pattern"),
        ("refill_amount", "0", "above zero"),
        ("refill_amount", "10.005", "refill_amount: more decimals than EUR has"),
        ("refill_currency", "QQQ", "not an ISO 4217 code"),
        ("refill_currency", None, "threshold, amount and currency of a refill must be set together"),
    ],
)
def test_a_policy_that_no_message_could_set_is_refused(
    settings: Settings, name: str, value: object, problem: str
) -> None:
    refill = {
        "policy_refill_threshold": "5.00",
        "policy_refill_amount": "20",
        "policy_refill_currency": "EUR",
    }
    given = {**settings.model_dump(), **refill}
    assert policy_of(Settings(**given)).refill == (5_000_000, 20_000_000)
    with pytest.raises(ValidationError, match=problem):
        Settings(**{**given, f"policy_{name}": value})


DSNS = [
    "h",
    "h:5432",
    "h1:1,h2:2",
    "h1,h2",
    "[::1]:5432",
    "[::1]",
    "",
    "u@h",
    "u:p%2Fq@h:1",
    "%2Frun%2Fpostgresql",
]


@pytest.mark.parametrize("place", DSNS)
def test_a_dsn_that_can_be_read_is_taken(settings: Settings, place: str) -> None:
    dsn = f"postgresql://{place}/d?sslmode=disable"
    assert Settings(**{**settings.model_dump(), "postgres_dsn": dsn}).postgres_dsn.get_secret_value() == dsn


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:se/cret@h/d",
        "postgresql://u:se?cret@h/d",
        "postgresql://u:se#cret@h/d",
        "postgresql://u:se@cret@h/d",
        "postgresql://u:s[e]cret@h/d",
        "postgresql://h:cret/d",
        "postgresql://h:99999/d",
        "postgresql://h/d?port=cret",
        "mysql://u:cret@h/d",
        "host=h password=cret",
    ],
)
def test_a_dsn_that_cannot_be_read_is_refused_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    monkeypatch.setenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", "a:1")
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", dsn)
    with pytest.raises(ValidationError, match="postgres_dsn") as refused:
        Settings()
    assert "cret" not in str(refused.value)
    with pytest.raises(Failure, match="AVOIR_POSTGRES_DSN: ") as raised:
        load_settings(DSN, BROKERS)
    assert "cret" not in raised.value.message


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "", "../etc/passwd", "europe", "localtime", "posixrules", "Factory"]
)
def test_a_time_zone_must_be_known(settings: Settings, zone: str) -> None:
    with pytest.raises(ValidationError, match="policy_time_zone"):
        Settings(**{**settings.model_dump(), "policy_time_zone": zone})
    known = Settings(**{**settings.model_dump(), "policy_time_zone": "Europe/Brussels"})
    assert known.policy_time_zone == "Europe/Brussels"


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("idle_in_transaction_s", 15.0, "IDLE_IN_TRANSACTION_S must be below AVOIR_POSTGRES_LOCK_TIMEOUT_S"),
        ("lock_timeout_s", 30.0, "LOCK_TIMEOUT_S must be below AVOIR_POSTGRES_STATEMENT_TIMEOUT_S"),
        ("command_timeout_s", 5.0, "STATEMENT_TIMEOUT_S must be below AVOIR_POSTGRES_COMMAND_TIMEOUT_S"),
    ],
)
def test_timeouts_rise_in_the_order_in_which_they_fire(
    settings: Settings, name: str, value: float, named: str
) -> None:
    with pytest.raises(ValidationError, match=f"AVOIR_POSTGRES_{named}"):
        Settings(**{**settings.model_dump(), f"postgres_{name}": value})


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
