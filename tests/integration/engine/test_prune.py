"""Removing images while others work: what is decided, is decided in the transaction that removes."""

import io
import sqlite3
import subprocess
import sys
import tarfile  # noqa: TID251 - makes an image to remove
import time
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tests.integration.engine.conftest import IMAGE, Ground
from tiffin.engine import create
from tiffin.engine.options import CommitOptions, CreateOptions
from tiffin.errors import NotFound

pytestmark = pytest.mark.root


def add_image(ground: Ground, name: str, size: int = 1000) -> str:
    """An image of one file that no other image has; its ID."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = size
        archive.addfile(
            member, io.BytesIO(time.time_ns().to_bytes(8, "big") * (size // 8) + b" " * (size % 8))
        )
    out.seek(0)
    return ground.engine.images.import_(out, name).id


def test_a_plan_changes_nothing_and_prune_takes_no_more_than_it(ground: Ground) -> None:
    images = ground.engine.images
    first = add_image(ground, "", 10_000)
    plan = images.plan_prune()
    assert [(image.id, image.names, image.size) for image in plan.images] == [(first, (), 10_000)]
    assert plan.frees >= 10_000
    second = add_image(ground, "")
    assert {image.id for image in images.plan_prune().images} == {first, second}
    pruned = images.prune(only=[image.id for image in plan.images])
    assert pruned.records[0] == ("deleted", first)
    assert pruned.reclaimed == plan.frees
    assert [image.id for image in images.plan_prune().images] == [second]
    assert images.prune(only=[]).records == ()
    images.prune()


def test_what_images_share_is_freed_with_the_last_of_them(ground: Ground) -> None:
    images = ground.engine.images
    first = add_image(ground, "one:1", 100_000)
    container = ground.containers.create(CreateOptions("one:1", ("x",), network="none")).id
    second = ground.containers.commit(container, CommitOptions("two:1"))
    ground.containers.remove(container)
    plan = images.plan_prune(all=True, filters=["label!=none"])
    sizes = {image.id: image.frees for image in plan.images}
    assert sizes[first] < 10_000
    assert sizes[second] < 10_000
    assert plan.frees > 100_000
    images.remove("one:1")
    images.remove("two:1")


def test_an_image_for_another_platform_stays_while_its_index_has_a_name(ground: Ground) -> None:
    images = ground.engine.images
    ours, other = add_image(ground, "both:1"), add_image(ground, "")
    index = f"sha256:{'5' * 64}"
    with sqlite3.connect(f"{ground.root}/tiffin.db") as db:
        db.execute("INSERT INTO indexes VALUES (?, 'application/vnd.oci.image.index.v1+json', 2)", (index,))
        db.executemany("INSERT INTO index_images VALUES (?, ?)", [(index, ours), (index, other)])
        db.execute("UPDATE image_names SET target = ? WHERE image = ?", (index, ours))
    db.close()
    assert images.plan_prune().images == ()
    assert images.prune().records == ()
    (row,) = [row for row in images.list(["dangling=false"]) if row.id == other]
    assert (row.names, row.within, row.is_dangling) == ((), ("docker.io/library/both:1",), False)
    assert [row.id for row in images.list(["reference=both:*"])] == [other, ours]
    pruned = images.prune(all=True, filters=["label!=none"], only=[ours, other])
    assert {("untagged", "both:1"), ("deleted", ours), ("deleted", other)} <= {*pruned.records}


def test_a_container_cannot_be_made_of_an_image_that_goes_meanwhile(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_image(ground, "going:1")
    plan = create.plan

    def removed_in_between(*arguments: object) -> object:
        record = plan(*arguments)  # type: ignore[arg-type]
        ground.engine.images.prune(all=True)
        return record

    monkeypatch.setattr(create, "plan", removed_in_between)
    with pytest.raises(NotFound, match="No such image: going:1"):
        ground.containers.create(CreateOptions("going:1", ("x",), network="none"))
    assert [row.id for row in ground.containers.list(show_all=True)] == []
    monkeypatch.undo()
    with open(busybox_tar(), "rb") as file:
        ground.engine.images.import_(file, IMAGE)


def test_prune_beside_others_that_import_and_run_takes_nothing_of_theirs(
    ground: Ground, tmp_path: Path
) -> None:
    program = (
        "import sys, tiffin\n"
        "with tiffin.Engine(sys.argv[1], sys.argv[2]) as engine:\n"
        "    for turn in range(6):\n"
        "        name = f'{sys.argv[3]}:{turn}'\n"
        "        try:\n"
        "            with open(sys.argv[4], 'rb') as file:\n"
        "                engine.images.import_(file, name)\n"
        "            done = engine.run(name, ['echo', name], network='none')\n"
        "        except tiffin.TiffinError as error:\n"
        "            assert 'No such image' in str(error), error\n"
        "        else:\n"
        "            assert done.output == name + '\\n', done\n"
    )
    arguments = [ground.root, ground.run_directory]
    others = [
        subprocess.Popen(
            [sys.executable, "-c", program, *arguments, name, busybox_tar()], stderr=subprocess.PIPE
        )
        for name in ("left", "right")
    ]
    held = ground.create("true")
    removed = 0
    try:
        while any(other.poll() is None for other in others):
            removed += len(ground.engine.images.prune(all=True).records)
    finally:
        for other in others:
            other.kill()
            other.wait()
    for other in others:
        assert other.stderr is not None
        assert other.wait() == 0, other.stderr.read().decode()
        other.stderr.close()
    removed += len(ground.engine.images.prune(all=True).records)
    assert removed >= 12
    assert [row.id for row in ground.engine.images.list()] == [ground.engine.images.resolve(IMAGE).id]
    ground.containers.start(held)
    assert ground.containers.wait(held) == 0
    ground.containers.remove(held)
