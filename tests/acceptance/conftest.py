"""One running service for all acceptance tests, and services of their own for those that need one."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.service import Deploy, Service, deployed


@pytest.fixture(scope="session")
def service(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of the whole run; in the end it goes on SIGTERM with exit code 0."""
    with deployed(kafka, postgres, tmp_path_factory.mktemp("service")) as service:
        process = service.deployment.serve()
        yield service
        process.check()
        assert process.stop() == 0, process.tail()


@pytest.fixture
def deploy(kafka: str, postgres: str, tmp_path: Path) -> Iterator[Deploy]:
    """Sets up a service of the test's own: `deploy(AVOIR_...="...")`; the test starts its processes."""
    with ExitStack() as ends:
        yield lambda **settings: ends.enter_context(deployed(kafka, postgres, tmp_path, settings))
