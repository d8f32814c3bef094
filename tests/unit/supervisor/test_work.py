"""What a supervisor has opened before there is a job for it."""

import os
from pathlib import Path

import pytest

from tiffin.state import Layout, locate, open_store
from tiffin.supervisor.work import Ready, make_ready


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = locate(str(tmp_path / "root"), str(tmp_path / "run"))
    open_store(found).close()
    return found


def test_the_store_is_open_when_a_job_comes(layout: Layout) -> None:
    ready = make_ready(layout)
    assert ready.now() is ready and ready.store is not None and ready.helper >= 0
    done(ready)


def test_the_store_of_an_engine_that_was_made_anew_is_let_go(layout: Layout) -> None:
    ready = make_ready(layout)
    assert ready.store is not None
    for name in ("", "-wal", "-shm"):
        Path(layout.database + name).unlink(missing_ok=True)
    assert ready._replace(store=open_store(layout)).now().store is None  # another file of that name
    assert ready.now().store is None
    os.close(ready.helper)


def test_nothing_is_made_where_there_is_no_engine(tmp_path: Path) -> None:
    ready = make_ready(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    assert ready.store is None and not (tmp_path / "root").exists()
    done(ready)


def done(ready: Ready) -> None:
    if ready.store is not None:
        ready.store.close()
    os.close(ready.helper)
