"""The image and the compose file name the right parts; what needs a Docker engine is skipped without one."""

import re
import shutil
import subprocess
from typing import Any

import pytest

from avoir.settings import Settings
from deploy.local.folders import CHECKOUT

yaml = pytest.importorskip("yaml", reason="the compose file is only checked where PyYAML is installed")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of compose.yaml."""
    parsed: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text())
    return parsed["services"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """The instructions of the Dockerfile."""
    return (CHECKOUT / "deploy" / "Dockerfile").read_text().splitlines()


def test_compose_has_broker_database_migration_and_service(services: dict[str, Any]) -> None:
    assert set(services) == {"kafka", "postgres", "migrate", "avoir"}


def test_docker_accepts_the_compose_file() -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no Docker Compose here: the image is not built, and compose.yaml is only read, not run")
    file = str(CHECKOUT / "deploy" / "compose.yaml")
    subprocess.run([docker, "compose", "-f", file, "config", "--quiet"], check=True, timeout=60)


def test_the_broker_makes_no_topics_by_itself(services: dict[str, Any]) -> None:
    kafka = services["kafka"]
    assert re.fullmatch(r"apache/kafka:4\.\d+\.\d+", kafka["image"])
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert kafka["environment"]["KAFKA_PROCESS_ROLES"] == "broker,controller"


def test_the_service_waits_for_migration_and_topics(services: dict[str, Any]) -> None:
    assert services["migrate"]["command"] == ["avoir migrate && avoir topics create"]
    assert {need["condition"] for need in services["migrate"]["depends_on"].values()} == {"service_healthy"}
    assert services["avoir"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_every_server_has_a_healthcheck(services: dict[str, Any]) -> None:
    assert all("healthcheck" in services[name] for name in ("kafka", "postgres", "avoir"))
    assert "/readyz" in str(services["avoir"]["healthcheck"]["test"])


def test_ports_are_open_to_this_machine_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_takes_locked_dependencies_and_an_ordinary_user(dockerfile: list[str]) -> None:
    text = "\n".join(dockerfile)
    assert "pip install --require-hashes --no-deps -r requirements/runtime.txt" in text
    assert text.count("FROM ") == 2
    last_stage = text.rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d+$", last_stage, re.M)
    assert 'ENTRYPOINT ["avoir"]' in last_stage


def test_the_image_answers_probes_from_outside_of_the_container(dockerfile: list[str]) -> None:
    last_stage = "\n".join(dockerfile).rpartition("FROM ")[2]
    assert re.search(r"^ENV AVOIR_HTTP_HOST=0\.0\.0\.0$", last_stage, re.M)
    assert Settings.model_fields["http_host"].default == "127.0.0.1"


def test_what_the_image_copies_is_let_in_by_dockerignore(dockerfile: list[str]) -> None:
    let_in = {
        line[1:]
        for line in (CHECKOUT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [line.split()[1:-1] for line in dockerfile if re.match(r"COPY (?!--)", line)]
    assert {source for sources in copied for source in sources} == let_in
    assert all((CHECKOUT / source).exists() for source in let_in)


def test_the_locks_name_no_index_and_no_folder() -> None:
    for lock in (CHECKOUT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"--(extra-)?index-url|--find-links|://|^\s*[./]", text, re.M), lock.name
