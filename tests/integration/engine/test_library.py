"""The README's example, from one thread and from many."""

import threading
from pathlib import Path

import pytest

import tiffin
from tests.integration.engine.conftest import Ground

pytestmark = pytest.mark.root


def example(ground: Ground, directory: Path, tag: str) -> str:
    directory.mkdir()
    (directory / "Dockerfile").write_text(f"FROM busybox\nRUN echo {tag} > /menu\nCMD cat /menu\n")
    with tiffin.Engine(ground.root, ground.run_directory) as engine:
        image = engine.build(str(directory), tag=tag)
        return engine.run(image, network="none").output


def test_build_and_run(ground: Ground, tmp_path: Path) -> None:
    assert example(ground, tmp_path / "one", "soup") == "soup\n"


def test_an_engine_works_while_another_has_the_database_open(ground: Ground) -> None:
    with ground.engine._workspace.store() as store:
        assert store.db.execute("SELECT count(*) FROM images").fetchone()
        with tiffin.Engine(ground.root, ground.run_directory) as second:
            assert second.run("busybox", ["echo", "hi"], network="none").output == "hi\n"
        assert ground.run("true")[0] == 0


def test_build_and_run_beside_other_threads(ground: Ground, tmp_path: Path) -> None:
    outputs: dict[str, str] = {}

    def one(tag: str) -> None:
        outputs[tag] = example(ground, tmp_path / tag, tag)

    threads = [threading.Thread(target=one, args=(f"dish{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {f"dish{number}": f"dish{number}\n" for number in range(3)}


def test_a_build_error_in_a_thread_is_the_same_error(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 9\n")
    errors: list[str] = []

    def build() -> None:
        try:
            ground.engine.build(str(tmp_path))
        except tiffin.DockerfileError as error:
            errors.append(str(error))

    build()
    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    assert len(errors) == 2
    assert errors[0] == errors[1]
    assert "Dockerfile:2" in errors[0]
