"""Rows of containers: names, lookup, transitions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.containers.test_records import RECORD
from tiffin.containers import Containers, State
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.state import locate, open_store


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Containers]:
    store = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    yield Containers(store)
    store.close()


def test_a_row_is_found_by_id_name_and_unique_prefix(rows: Containers) -> None:
    first = rows.insert(RECORD._replace(id="ab" + "0" * 62, name="one"))
    second = rows.insert(RECORD._replace(id="ac" + "0" * 62, name="ab"))
    assert rows.find(first.id) == first
    assert rows.find("one") == rows.find("/one") == rows.find("ab0") == first
    assert rows.find("ab") == second, "a name goes before a prefix"
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix: a"):
        rows.find("a")
    for unknown in ("ad", "two", "ONE", "ab0g", "' OR 1=1 --", "a%"):
        with pytest.raises(NotFound, match=f"No such container: {unknown}"):
            rows.find(unknown)


def test_a_name_is_taken_once_and_a_made_up_one_tries_again(rows: Containers) -> None:
    rows.insert(RECORD._replace(id="1" * 64, name="one"))
    with pytest.raises(Conflict) as refused:
        rows.insert(RECORD._replace(id="2" * 64, name="one"))
    assert str(refused.value) == (
        f'Conflict. The container name "/one" is already in use by container "{"1" * 64}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    assert rows.insert(RECORD._replace(id="3" * 64, name="")).name


def test_transitions(rows: Containers) -> None:
    container = rows.insert(RECORD)
    rows.starting(container.id, 7, 70, "boot")
    rows.running(container.id, 8, 80, 1000)
    now = rows.find("lunch")
    assert (now.status, now.pid, now.pid_start, now.supervisor) == (State.RUNNING, 8, 80, 7)
    assert rows.in_states([State.RUNNING]) == [now]
    rows.ended(container.id, 3, 2000, oom_killed=True)
    rows.exited(container.id, 3, 2000, oom_killed=True)
    now = rows.find("lunch")
    assert (now.status, now.pid, now.exit_code, now.oom_killed, now.finished) == ("exited", 0, 3, True, 2000)
    rows.delete(container.id)
    rows.delete(container.id)
    with pytest.raises(NotFound):
        rows.set_status(container.id, State.DEAD)


def test_renaming(rows: Containers) -> None:
    rows.insert(RECORD._replace(id="1" * 64, name="one"))
    rows.insert(RECORD._replace(id="2" * 64, name="two"))
    rows.rename("1" * 64, "three")
    assert rows.find("three").name == "three"
    with pytest.raises(Conflict):
        rows.rename("1" * 64, "two")
