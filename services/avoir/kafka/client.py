"""Connection settings of every Kafka client of the service: brokers, TLS, SASL."""

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avoir.settings import KafkaSettings

# Importing FastStream takes a third of a command's start, so it is imported only where it is needed.
if TYPE_CHECKING:
    from faststream.security import BaseSecurity

REQUEST_TIMEOUT_MS = 10_000
METADATA_MAX_AGE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Client:
    """Addresses of the brokers, and how to connect to them."""

    bootstrap_servers: list[str]
    security: "BaseSecurity | None" = None

    def options(self) -> dict[str, Any]:
        """Keyword arguments of every aiokafka client."""
        plain: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
            "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        }
        if self.security is None:
            return plain
        from faststream.kafka.security import parse_security

        return {**plain, **parse_security(self.security)}


def client_of(settings: KafkaSettings) -> Client:
    """Build the client settings; certificates are read now, so that a wrong path fails at once."""
    servers = [server.strip() for server in settings.kafka_bootstrap_servers.split(",") if server.strip()]
    return Client(servers, _security(settings))


def _security(settings: KafkaSettings) -> "BaseSecurity | None":
    from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

    protocol = settings.kafka_security_protocol
    context = _ssl_context(settings) if protocol.endswith("SSL") else None
    if not protocol.startswith("SASL"):
        return BaseSecurity(ssl_context=context) if context else None
    kind = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    assert settings.kafka_sasl_username is not None
    assert settings.kafka_sasl_password is not None
    return kind[settings.kafka_sasl_mechanism](
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password.get_secret_value(),
        use_ssl=context is not None,
        ssl_context=context,
    )


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.kafka_ssl_ca_file)
    if settings.kafka_ssl_cert_file:
        password = settings.kafka_ssl_key_password
        context.load_cert_chain(
            settings.kafka_ssl_cert_file,
            settings.kafka_ssl_key_file,
            password.get_secret_value() if password else None,
        )
    return context
