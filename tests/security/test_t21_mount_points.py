"""T21: taking away a mount point made for a RUN never follows what the RUN put in its place."""

import os
from pathlib import Path

import pytest

from tests.building import Bench
from tiffin.build.running.mountpoints import MountPoints

pytestmark = pytest.mark.root


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    made = tmp_path / "canary"
    (made / "hosts").mkdir(parents=True)
    (made / "resolv.conf").write_text("")
    (made / "empty").mkdir()
    return made


def listing(canary: Path) -> list[str]:
    return sorted(str(path) for path in canary.rglob("*"))


def test_a_run_that_moves_the_parents_away_and_links_elsewhere_harms_nothing(
    based: Bench, canary: Path
) -> None:
    before = listing(canary)
    based.build(
        f"FROM base\nRUN cp -a /etc /etc2 2>/dev/null; mv /etc /old; ln -s {canary} /etc; ln -s {canary} /dev2; true"
    )
    assert listing(canary) == before
    with based.tree() as top:
        assert not (top / "proc").exists()
        assert not (top / "dev").exists()


def test_a_run_that_links_elsewhere_what_holds_a_mount_harms_nothing(based: Bench, canary: Path) -> None:
    """The directories above the mounts are the RUN's to move; what is in their place afterwards is not followed."""
    before = listing(canary)
    based.write("f", "x")
    based.build(
        "FROM base\nRUN --mount=target=/one/hosts --mount=type=cache,target=/two/empty --mount=type=secret,id=s "
        f"--mount=type=tmpfs,target=/three/empty umount /two/empty; for d in one two three run; do "
        f"mv /$d /moved-$d; ln -s {canary} /$d; done; true",
        secrets=(f"id=s,src={based.context}/f",),
    )
    assert listing(canary) == before
    with based.tree() as top:
        assert (top / "two").is_symlink()


@pytest.mark.parametrize("replacement", ["link", "directory", "file", "full"])
def test_only_the_very_thing_that_was_made_is_removed(tmp_path: Path, canary: Path, replacement: str) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    upper.mkdir()
    lower.mkdir()
    before = listing(canary)
    root, below = os.open(upper, os.O_RDONLY), os.open(lower, os.O_RDONLY)
    try:
        with MountPoints(str(upper)) as points:
            points.prepare(root, [("/proc", True), ("/etc/hosts", False)])
            points.remember(below)
            (upper / "etc" / "hosts").rename(upper / "kept")
            if replacement == "link":
                (upper / "etc" / "hosts").symlink_to(canary / "resolv.conf")
                (upper / "proc").rename(upper / "was")
                (upper / "proc").symlink_to(canary / "empty")
            elif replacement == "directory":
                (upper / "etc").rename(upper / "moved")
                (upper / "etc").symlink_to(canary)
            elif replacement == "file":
                (upper / "etc" / "hosts").write_text("")
            else:
                (upper / "proc" / "x").write_text("of the image now")
            points.remove()
    finally:
        os.close(root)
        os.close(below)
    assert listing(canary) == before
    assert (upper / "kept").exists()
    if replacement == "link":
        assert (upper / "etc" / "hosts").is_symlink()
        assert (upper / "proc").is_symlink()
    elif replacement == "file":
        assert (upper / "etc" / "hosts").exists()
    elif replacement == "full":
        assert (upper / "proc" / "x").exists()
