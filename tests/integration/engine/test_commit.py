"""diff, commit and export."""

import io
import os
import tarfile  # noqa: TID251 - reads what we wrote as any other program would

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin import CommitOptions, CreateOptions
from tiffin.errors import Unsupported

pytestmark = pytest.mark.root

SCRIPT = "echo new > /new; rm /etc/group; echo x >> /etc/passwd; mkdir /d; touch /d/f"


def test_diff_says_what_was_added_changed_and_deleted(ground: Ground) -> None:
    container = ground.start("sh", "-c", SCRIPT)
    ground.containers.wait(container)
    changes = [(change.kind, change.path) for change in ground.containers.diff(container)]
    assert ("A", "/new") in changes
    assert ("D", "/etc/group") in changes
    assert ("C", "/etc/passwd") in changes
    assert ("C", "/etc") in changes
    assert ("A", "/d/f") in changes
    others = ("/bin", "/root", "/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
    assert not [path for _, path in changes if path.startswith(others)]


def test_diff_of_what_changed_nothing_is_empty(ground: Ground) -> None:
    container = ground.start("true")
    ground.containers.wait(container)
    assert not ground.containers.diff(container)


def test_diff_of_what_never_ran_is_empty(ground: Ground) -> None:
    assert not ground.containers.diff(ground.create("true"))


def test_a_commit_of_a_running_container_runs_with_its_changes_and_settings(ground: Ground) -> None:
    container = ground.start("sh", "-c", f"{SCRIPT}; sleep 1000", env=("A=1",), workdir="/d", labels=("k=v",))

    await_that(lambda: ground.exec(container, "test", "-e", "/d/f")[0] == 0)
    image = ground.containers.commit(container, CommitOptions("lunch:2", author="cook", message="packed"))
    assert ground.state(container)["Status"] == "running"
    document = ground.engine.images.inspect("lunch:2")
    assert document["Id"] == image
    assert "A=1" in document["Config"]["Env"]
    assert document["Config"]["Labels"] == {"k": "v"}
    created = ground.containers.create(
        CreateOptions("lunch:2", ("sh", "-c", "pwd; cat /new; ls /etc/group; echo $A"), network="none")
    )
    ground.containers.start(created.id)
    assert ground.containers.wait(created.id) in (0, 1)
    assert b"/d\nnew\n" in ground.logs(created.id)
    assert b"1\n" in ground.logs(created.id)
    assert ground.run("test", "-e", "/new")[0] == 1  # the base image is what it was
    ground.remove_all()
    ground.engine.images.remove("lunch:2")


def staged(ground: Ground) -> list[str]:
    return os.listdir(f"{ground.root}/staging")


def test_what_a_commit_stores_is_what_it_names(ground: Ground) -> None:
    many = "mkdir /many; for i in $(seq 50); do echo $i > /many/$i; done; ln /many/1 /many/first"
    large = "dd if=/dev/urandom of=/large bs=1M count=20 2>/dev/null"
    container = ground.start("sh", "-c", f"{SCRIPT}; {many}; {large}; echo made; exec sleep 1000")
    await_that(lambda: b"made" in ground.logs(container), seconds=30)
    first = ground.containers.commit(container, CommitOptions("lunch:1"))
    assert staged(ground) == []
    assert ground.engine.system.fsck() == []  # every layer's tree against its digest
    # Nothing has changed: the same layer, which is there already.
    second = ground.containers.commit(container, CommitOptions("lunch:2", message="again"))
    layers = [ground.engine.images.inspect(image)["RootFS"]["Layers"] for image in (first, second)]
    assert layers[0] == layers[1]
    assert staged(ground) == []
    ground.remove_all()
    ground.engine.images.remove("lunch:1")
    ground.engine.images.remove("lunch:2")


def test_a_commit_that_fails_leaves_nothing_and_lets_the_container_go_on(ground: Ground) -> None:
    script = "dd if=/dev/urandom of=/large bs=1M count=20 2>/dev/null; touch /z.wh. /.wh.z; echo made; exec sleep 1000"
    container = ground.start("sh", "-c", script)
    await_that(lambda: b"made" in ground.logs(container), seconds=30)
    layers = os.listdir(f"{ground.root}/layers")
    with pytest.raises(Unsupported, match=r"cannot hold a name beginning with \.wh\."):
        ground.containers.commit(container, CommitOptions("lunch:1"))
    assert staged(ground) == []
    assert os.listdir(f"{ground.root}/layers") == layers
    assert ground.state(container)["Status"] == "running"
    assert ground.exec(container, "true")[0] == 0


def test_export_is_the_whole_tree(ground: Ground) -> None:
    container = ground.start("sh", "-c", SCRIPT)
    ground.containers.wait(container)
    out = io.BytesIO()
    ground.containers.export(container, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        names = {name.strip("/").removeprefix("./") for name in tar.getnames()}
    assert {"new", "d/f", "bin/busybox", "etc/passwd"} <= names
    assert "etc/group" not in names
