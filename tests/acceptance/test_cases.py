"""Every promise of the help pages, and every case of real life, through real topics, in every order promised."""

import pytest

from tests.acceptance.cases import ALL_PAGES, HELP_PAGES, Case, Run, check, load_cases, play, runs_of
from tests.acceptance.service import Service

CASES = load_cases(ALL_PAGES)


@pytest.fixture(scope="module")
def played(service: Service) -> dict[str, list[Run]]:
    """All runs of all cases by the case's name, played side by side."""
    runs = {case.name: list(runs_of(case, f"case-{number}")) for number, case in enumerate(CASES)}
    play(service, [run for each in runs.values() for run in each])
    return runs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, request: pytest.FixtureRequest, service: Service) -> None:
    runs: list[Run] = request.getfixturevalue("played")[case.name]
    failures = []
    for run in runs:
        try:
            check(run, service.events.of(run.tenant))
        except AssertionError as error:
            failures.append(f"{run}\n{error}")
    assert not failures, f"{len(failures)} of {len(runs)} orders:\n" + "\n\n".join(failures)


def test_the_cases_are_all_there() -> None:
    assert len(load_cases(HELP_PAGES)) == 48
    assert len({case.name for case in CASES}) == len(CASES) == 57
