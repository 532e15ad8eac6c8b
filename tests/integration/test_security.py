"""The service against a broker that asks for TLS and a password."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from avoir.kafka.client import client_of
from avoir.kafka.topics import create_topics, missing_topics
from avoir.process.wiring import names_of
from avoir.settings import Settings
from avoir.wire.topics import SUBSCRIBED
from deploy.local.harness.service import settings_for
from deploy.local.kafka import SETTINGS, Kafka, launched_kafka
from deploy.local.process import free_port
from tests.integration.running import check_output, running, send, until_handled

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


@dataclass
class Guarded:
    """A broker with one open listener and one that asks for TLS and a password."""

    kafka: Kafka
    bootstrap_servers: str
    ca: Path


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    key, certificate, both = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    both.write_text(key.read_text() + certificate.read_text())
    port = free_port()
    # The open listener stays for what the test itself does.
    settings = SETTINGS.replace("listeners=PLAINTEXT", f"listeners=SASL_SSL://127.0.0.1:{port},PLAINTEXT")
    settings += f"""\
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={LOGIN} user_avoir="open sesame";
ssl.keystore.type=PEM
ssl.keystore.location={both}
"""
    monkeypatch.setattr("deploy.local.kafka.SETTINGS", settings)
    with launched_kafka() as kafka:
        kafka.server.wait_ready()
        yield Guarded(kafka, f"127.0.0.1:{port}", certificate)


@pytest.fixture
def settings(guarded: Guarded, database: str, topic_prefix: str) -> Settings:
    return settings_for(
        guarded.bootstrap_servers,
        database,
        topic_prefix,
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="avoir",
        kafka_sasl_password=SecretStr("open sesame"),
        kafka_ssl_ca_file=str(guarded.ca),
    )


async def test_it_reads_and_publishes_over_tls_with_a_password(settings: Settings, guarded: Guarded) -> None:
    names, client = names_of(settings), client_of(settings)
    made = await create_topics(client, names, 2, 1)
    assert made.faults == []
    assert await missing_topics(client, [names.actual(topic) for topic in SUBSCRIBED]) == []
    open_door = settings.model_copy(
        update={
            "kafka_bootstrap_servers": guarded.kafka.bootstrap_servers,
            "kafka_security_protocol": "PLAINTEXT",
        }
    )
    async with running(settings):
        await send(open_door, range(50))
        await until_handled(settings, 50)
        await check_output(open_door, 50)
    wrong = settings.model_copy(update={"kafka_sasl_password": SecretStr("guess")})
    with pytest.raises(Exception, match=r"[Bb]ootstrap|[Aa]uthent"):
        async with asyncio.timeout(20):
            await missing_topics(client_of(wrong), [])
