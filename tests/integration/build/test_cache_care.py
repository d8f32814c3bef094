"""builder du and prune, cache mounts in and out of tar archives, and what system df and prune say of them."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root


@pytest.fixture
def tiffin(tmp_path: Path) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path / "engine") as engine:
        yield engine


def build(tiffin: Tiffin, directory: Path, text: str, *options: str) -> None:
    (directory / "Dockerfile").write_text(f"FROM busybox\n{text}")
    tiffin.ok("build", *options, str(directory))


def records(tiffin: Tiffin, *options: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in tiffin.ok("builder", "du", "--format", "json", *options).splitlines()
    ]


def test_du_tells_steps_from_cache_mounts_and_agrees_with_df(tiffin: Tiffin, tmp_path: Path) -> None:
    mount = "RUN --network=none --mount=type=cache,target=/c,id=pip dd if=/dev/zero of=/c/f bs=1M count=2 2>/dev/null\n"
    build(tiffin, tmp_path, f"RUN --network=none echo a >/a\n{mount}", "-t", "kept")
    build(
        tiffin,
        tmp_path,
        "RUN --network=none dd if=/dev/urandom of=/b bs=1M count=1 2>/dev/null\n",
        "-o",
        "type=cacheonly",
    )
    found = {record["Description"].split(" ")[-1]: record for record in records(tiffin)}
    assert found["pip"]["Type"] == "exec.cachemount" and found["pip"]["Shared"] == "false"
    assert found[">/a"]["Shared"] == "true"
    text = tiffin.ok("builder", "du")
    totals = dict(line.split(":") for line in text.splitlines() if line.endswith("B") and ":" in line[:14])
    df = json.loads(tiffin.ok("system", "df", "--format", "json").splitlines()[3])
    assert df["Type"] == "Build Cache"
    assert df["Size"] == totals["Private"].strip() and df["Size"].endswith("MB")
    assert int(df["TotalCount"]) == len(records(tiffin)) == 3
    assert "Type:         exec.cachemount" in tiffin.ok(
        "builder", "du", "-v", "--filter", "type=exec.cachemount"
    )
    assert "exec.cachemount" in tiffin.ok("system", "df", "-v")
    assert [record["Description"] for record in records(tiffin, "--filter", "shared=false")] != []
    assert records(tiffin, "--filter", "unused-for=1h") == []
    mounts = tiffin.root / "cache-mounts"
    measured = subprocess.run(
        ["du", "-s", "--block-size=1", mounts], capture_output=True, text=True, check=True
    )
    listed = json.loads(tiffin.ok("system", "df", "-v", "--format", "json"))["BuildCache"]
    assert [row["Size"] for row in listed if row["CacheType"] == "exec.cachemount"] == [
        size(measured.stdout, mounts)
    ]


def size(measured: str, top: Path) -> str:
    """Without the directory that holds all of them."""
    from tiffin.cli.output import size as shown

    return shown(int(measured.split()[0]) - top.stat().st_blocks * 512)


def test_prune_lists_and_asks_and_leaves_what_images_have(tiffin: Tiffin, tmp_path: Path) -> None:
    build(tiffin, tmp_path, "RUN --network=none echo kept >/kept\n", "-t", "kept")
    build(tiffin, tmp_path, "RUN --network=none echo gone >/gone\n", "-o", "type=cacheonly")
    asked = tiffin("builder", "prune", input="n\n")
    assert asked.returncode == 1 and ">/gone" in asked.stdout and ">/kept" not in asked.stdout
    assert len(records(tiffin)) == 2
    done = tiffin.ok("builder", "prune", input="y\n")
    assert "Deleted build cache objects:" in done and "Total reclaimed space: " in done
    assert [">/kept" in record["Description"] for record in records(tiffin)] == [True]
    assert tiffin.ok("builder", "prune", "-f") == "Total reclaimed space: 0B"
    tiffin.ok("builder", "prune", "-af")
    assert records(tiffin) == []
    assert tiffin.ok("run", "--rm", "--network", "none", "kept", "cat", "/kept") == "kept"
    rerun = tiffin("build", str(tmp_path))
    assert "CACHED" not in rerun.stderr


def test_a_step_goes_with_all_its_names(tiffin: Tiffin, tmp_path: Path) -> None:
    """A COPY from a stage is known by two keys."""
    text = "RUN --network=none echo x >/x\nFROM busybox\nCOPY --from=0 /x /y\n"
    build(tiffin, tmp_path, text, "-t", "two")
    tiffin.ok("builder", "prune", "-af", "--filter", "type=regular")
    done = tiffin("build", "-t", "two", str(tmp_path))
    assert "CACHED" not in done.stderr


def test_keep_storage_drops_what_was_used_longest_ago(tiffin: Tiffin, tmp_path: Path) -> None:
    for number in range(3):
        text = f"RUN --network=none dd if=/dev/urandom of=/{number} bs=1M count=1 2>/dev/null\n"
        build(tiffin, tmp_path, text, "-o", "type=cacheonly")
    assert "3 objects" in tiffin("builder", "prune", input="n\n").stdout
    tiffin.ok("builder", "prune", "-f", "--keep-storage", "5m")
    left = [record["Description"] for record in records(tiffin)]
    assert len(left) == 2 and not any("of=/0" in each for each in left)
    tiffin.ok("builder", "prune", "-f", "--max-used-space", "1g")
    tiffin.ok("builder", "prune", "-f", "--min-free-space", "1k")
    tiffin.ok("builder", "prune", "-f", "--max-used-space", "1k", "--reserved-space", "1g")
    tiffin.ok("builder", "prune", "-f", "--filter", "type=source.local")
    assert len(records(tiffin)) == 2
    tiffin.ok("builder", "prune", "-f", "--max-used-space", "4m", "--min-free-space", "1k")
    assert len(records(tiffin)) == 1
    disk = os.statvfs(tiffin.root)
    more = disk.f_blocks * disk.f_frsize * 2
    tiffin.ok("builder", "prune", "-f", "--min-free-space", str(more))
    assert records(tiffin) == []


def test_system_prune_takes_cache_mounts_with_all(tiffin: Tiffin, tmp_path: Path) -> None:
    build(
        tiffin,
        tmp_path,
        "RUN --network=none --mount=type=cache,target=/c echo x >/c/x\n",
        "-o",
        "type=cacheonly",
    )
    tiffin.ok("system", "prune", "-f")
    assert [record["Type"] for record in records(tiffin)] == ["exec.cachemount"]
    assert "/c" in tiffin.ok("system", "prune", "-af")
    assert records(tiffin) == []


def test_a_cache_mount_goes_from_engine_to_engine(tiffin: Tiffin, tmp_path: Path) -> None:
    fill = "RUN --network=none --mount=type=cache,target=/c,id=pip mkdir /c/d && echo one >/c/d/f && chown 5:6 /c/d/f\n"
    build(tiffin, tmp_path, fill, "-o", "type=cacheonly")
    archive = tmp_path / "pip.tar"
    tiffin.ok("builder", "export", "-o", archive, "pip")
    with fresh_engine(tmp_path / "other") as other:
        assert "No such cache mount: pip" in other.fails(
            "builder", "export", "-o", tmp_path / "none.tar", "pip"
        )
        other.ok("builder", "import", "pip", archive)
        show = "RUN --network=none --mount=type=cache,target=/c,id=pip cat /c/d/f && stat -c %u:%g /c/d/f >/owner\n"
        (tmp_path / "Dockerfile").write_text(f"FROM busybox\n{show}")
        done = other("build", "-t", "shown", str(tmp_path))
        assert "one" in done.stderr
        assert other.ok("run", "--rm", "--network", "none", "shown", "cat", "/owner") == "5:6"


def test_an_archive_cannot_lead_out_of_a_cache_mount(tiffin: Tiffin, tmp_path: Path) -> None:
    import tarfile  # noqa: TID251 - a hostile archive

    canary = tmp_path / "canary"
    canary.mkdir()
    with tarfile.open(tmp_path / "hostile.tar", "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary)
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("link/planted"))
        tar.addfile(tarfile.TarInfo("../../planted"))
        device = tarfile.TarInfo("device")
        device.type, device.devmajor, device.devminor = tarfile.BLKTYPE, 8, 0
        tar.addfile(device)
    tiffin("builder", "import", "x", tmp_path / "hostile.tar")
    assert list(canary.iterdir()) == []
    top = tiffin.root / "cache-mounts"
    assert not [path for path in top.rglob("*") if path.is_block_device()]
    assert not (tiffin.root / "planted").exists() and not (top / "planted").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("builder", "prune", "--filter", "untl=1h"), "until"),
        (("builder", "du", "--filter", "type=mount"), "use one of"),
        (("builder", "prune", "--keep-storage", "much"), "want a size"),
        (("builder", "du", "--filter", "shared=maybe"), "true or false"),
    ],
)
def test_what_is_not_known_is_refused(shared: Tiffin, words: tuple[str, ...], text: str) -> None:
    assert text in shared.fails(*words)
