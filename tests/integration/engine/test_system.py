"""`system df` agrees with du, `system prune` removes what it listed and nothing else, `info` and `version` are true."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import BUSYBOX, Tiffin, fresh_engine
from tests.integration.images.archives import Oci, tar
from tiffin.engine import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def tiffin(tmp_path: Path) -> Iterator[Tiffin]:
    """An engine with images that share layers, a built one, containers, volumes."""
    with fresh_engine(tmp_path) as engine:
        base = tar({f"f{n}": os.urandom(700) for n in range(300)})
        oci = Oci()
        oci.image("x:1", [base, tar({"c": os.urandom(50000)})])
        oci.image("x:2", [base, tar({"d": os.urandom(90000)})], author="two")
        (tmp_path / "x.tar").write_bytes(oci.tar())
        engine.ok("load", "-i", tmp_path / "x.tar")
        context = tmp_path / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(
            f"FROM {BUSYBOX}\nLABEL stage=test\nRUN ln /bin/busybox /again; dd if=/dev/urandom of=/r bs=999 count=999\n"
        )
        engine.ok("build", "-t", "built", context)
        engine.ok(
            "run",
            "--name",
            "ended",
            "-v",
            "/anonymous",
            "-v",
            "named:/n",
            "built",
            "sh",
            "-c",
            "cp /r /anonymous",
        )
        engine.ok("run", "-d", "--name", "runs", BUSYBOX, "sleep", "1000")
        yield engine


def du(path: Path) -> int:
    text = subprocess.run(
        ["du", "-s", "--block-size=1", path], capture_output=True, text=True, check=True
    ).stdout
    return int(text.split()[0])


def test_the_sum_of_df_is_what_du_says(tiffin: Tiffin) -> None:
    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        for _ in range(2):  # counted, then remembered
            total = engine.system.usage().total
            assert abs(total - du(tiffin.root)) < du(tiffin.root) / 100
        (tiffin.root / "oci/blobs/sha256" / ("1" * 64)).write_bytes(b"y" * 100_000)
        (tiffin.root / "staging/left").write_bytes(b"y" * 100_000)
        usage = engine.system.usage()
    assert usage.other_reclaimable >= 200_000
    assert abs(usage.total - du(tiffin.root)) < du(tiffin.root) / 100


def test_df_tells_shared_bytes_from_an_images_own(tiffin: Tiffin) -> None:
    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        usage = engine.system.usage()
    of = {image.names[0].rpartition("/")[2]: image for image in usage.images.images}
    assert of["x:1"].shared == of["x:2"].shared > 300 * 4096
    assert 50_000 < of["x:1"].unique < of["x:2"].unique < 300_000
    assert of["built:latest"].containers == 1
    assert (
        usage.images.size
        == sum(i.unique for i in of.values()) + of["x:1"].shared + of["busybox:latest"].shared
    )
    assert usage.images.reclaimable == of["x:1"].size + of["x:2"].unique
    assert {one.name: one.active for one in usage.containers} == {"ended": False, "runs": True}
    assert {one.name: one.links for one in usage.volumes}["named"] == 1


def test_df_looks_like_dockers(tiffin: Tiffin) -> None:
    lines = tiffin.ok("system", "df").splitlines()
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert lines[1].split()[:3] == ["Images", "4", "2"]
    assert lines[2].split()[:3] == ["Containers", "2", "1"]
    assert lines[3].split()[:4] == ["Local", "Volumes", "2", "2"]
    assert tiffin.ok("system", "df", "--format", "{{.Type}} {{.Active}}").splitlines()[1] == "Containers 1"
    rows = [json.loads(line) for line in tiffin.ok("system", "df", "--format", "json").splitlines()]
    assert [row["Type"] for row in rows][:4] == ["Images", "Containers", "Local Volumes", "Build Cache"]
    verbose = tiffin.ok("system", "df", "-v")
    for heading in (
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage:",
    ):
        assert heading in verbose
    document = json.loads(tiffin.ok("system", "df", "-v", "--format", "json"))
    assert {image["Repository"] for image in document["Images"]} == {"built", "busybox", "x"}
    assert tiffin.ok("system", "df", "-v", "--format", "{{len .Volumes}}") == "2"


def test_prune_lists_first_and_takes_no_for_an_answer(tiffin: Tiffin) -> None:
    before = tiffin.ok("ps", "-aq"), tiffin.ok("images", "-q")
    asked = tiffin("system", "prune", "-a", "--volumes", input="n\n")
    assert asked.returncode == 1
    for text in ("ended", "x:1", "x:2", "built:latest", "VOLUME NAME", "CACHE ID", "in all", "[y/N]"):
        assert text in asked.stdout
    assert "named" not in asked.stdout
    assert "runs" not in asked.stdout
    assert f"{BUSYBOX}:latest" not in asked.stdout
    assert (tiffin.ok("ps", "-aq"), tiffin.ok("images", "-q")) == before


def test_prune_removes_what_it_listed(tiffin: Tiffin) -> None:
    before = du(tiffin.root)
    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        from tiffin.engine.prune import PruneRequest

        plan = engine.system.plan_prune(PruneRequest(all=True, volumes=True))
        done = engine.system.prune(plan)
    assert len(done.containers) == 1
    assert len(done.volumes) == 1
    assert sorted(name for what, name in done.images if what == "untagged") == ["built:latest", "x:1", "x:2"]
    assert tiffin.ok("ps", "-a").split()[-1] == "runs"
    assert tiffin.ok("images", "--format", "{{.Repository}}") == BUSYBOX
    assert abs(before - du(tiffin.root) - plan.reclaims) < before / 50
    assert tiffin.ok("fsck") == "nothing is damaged"
    assert tiffin.ok("system", "prune", "-af") == "Total reclaimed space: 0B"


def test_without_all_only_what_has_no_name_goes(tiffin: Tiffin) -> None:
    tiffin.ok("rmi", "x:1")
    tiffin.ok("tag", "x:2", "x:3")
    said = tiffin.ok("system", "prune", "-f")
    assert "ended" in said
    assert "Deleted Images" not in said
    assert {line.split()[0] for line in tiffin.ok("images").splitlines()[1:]} == {"built", "busybox", "x"}
    assert len(list((tiffin.root / "volumes").iterdir())) == 2


def test_filters_choose_what_goes(tiffin: Tiffin) -> None:
    assert tiffin.ok("system", "prune", "-af", "--filter", "label=other") == "Total reclaimed space: 0B"
    said = tiffin.ok("system", "prune", "-af", "--filter", "label=stage=test")
    assert "untagged: built:latest" in said
    assert {line.split()[0] for line in tiffin.ok("images").splitlines()[1:]} == {"busybox", "x"}
    assert "invalid filter" in tiffin.fails("system", "prune", "--filter", "size=3")


def test_info_and_version_tell_what_is(tiffin: Tiffin) -> None:
    info = json.loads(tiffin.ok("info", "--format", "json"))
    assert (info["Containers"], info["ContainersRunning"], info["ContainersStopped"], info["Images"]) == (
        2,
        1,
        1,
        4,
    )
    assert info["DockerRootDir"] == str(tiffin.root)
    assert info["KernelVersion"] == os.uname().release
    assert tiffin.ok("info", "-f", "{{.Driver}} {{.OSType}}") == "overlay linux"
    assert " Storage Driver: overlay" in tiffin.ok("system", "info")
    assert tiffin.ok("version", "-f", "{{.Server.Version}}") == info["ServerVersion"]
    assert tiffin.ok("version").startswith("Client: tiffin\n Version: ")
