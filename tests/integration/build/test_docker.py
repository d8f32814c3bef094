"""The same Dockerfiles built by Debian's Docker, by its classic builder and by its BuildKit (both of 2022): the same
layers, file by file, the same config, the same history. Where tiffin differs, the case says why; see compared/case.py.
"""

from collections.abc import Iterator

import pytest

from tests.integration.build.compared.built import differences, unexplained
from tests.integration.build.compared.case import BUILDERS, Case, read_cases
from tests.integration.build.compared.session import OURS, Results, compared

# All is built before the first test: a minute, where nothing else is to be done.
pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(900)]

CASES = read_cases()
PAIRS = [(case, builder) for case in CASES for builder in case.by]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    with compared(tmp_path_factory.mktemp("compared"), CASES) as found:
        yield found


@pytest.mark.parametrize(
    ("case", "builder"), PAIRS, ids=[f"{builder}: {case.about}" for case, builder in PAIRS]
)
def test_what_is_built_is_what_docker_builds(results: Results, case: Case, builder: str) -> None:
    found = differences(results.get(case, OURS), results.get(case, builder), builder)
    assert unexplained(found, case.differs[builder]) == {}


def test_there_are_as_many_dockerfiles_as_was_promised() -> None:
    by_both = [case for case in CASES if case.by == BUILDERS]
    assert len({case.files[case.dockerfile].data for case in by_both}) >= 75
