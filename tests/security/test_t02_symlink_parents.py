"""T2: nothing is written through a link to the outside, not even when the tree changes under the unpacker."""

import os
import threading

import pytest

from tests.suites.archives import apply_to, archive, canary, entry, extract_to
from tiffin.errors import TiffinError
from tiffin.kernel.paths import rename_exchange
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root


def link(name: str, target: object):
    return entry(name, Kind.SYMLINK, mode=0o777, linkname=str(target))


@pytest.mark.parametrize("unpack", [apply_to, extract_to])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_member_below_a_link_stays_inside(tmp_path, kind, unpack):
    with canary(tmp_path) as outside:
        member = entry("a/file", kind, linkname="a/sub/file", mode=0o777, major=1, minor=3)
        for target in (outside, "../canary", "../../../../" + str(outside)):
            try:
                unpack(tmp_path / "dest", archive(link("a", target), member))
            except TiffinError:
                pass  # refused is as good as confined; the canary tells


def test_whiteouts_and_opaque_marks_below_a_link_stay_inside(tmp_path):
    with canary(tmp_path) as outside:
        for name in (".wh.file", ".wh..wh..opq", ".wh.sub"):
            apply_to(tmp_path / "dest", archive(link("a", outside), "a/" + name))
        assert not os.listxattr(outside)


def test_replacing_a_link_to_a_directory_does_not_touch_that_directory(tmp_path):
    with canary(tmp_path) as outside:
        for member in ("a/", "a", link("a", "elsewhere"), entry("a", Kind.FIFO)):
            apply_to(tmp_path / "dest", archive(link("a", outside), member))
            assert (
                not (tmp_path / "dest" / "a").is_symlink()
                or os.readlink(tmp_path / "dest" / "a") == "elsewhere"
            )


def test_a_chain_of_links_past_the_kernels_limit_is_refused(tmp_path):
    chain = [link(f"l{number}", f"l{number + 1}") for number in range(60)]
    with canary(tmp_path) as outside, pytest.raises(TiffinError):
        apply_to(tmp_path / "dest", archive(*chain, link("l60", outside), "l0/file"))


def test_a_long_link_path_cannot_outrun_the_resolver(tmp_path):
    """The form of the attack on realpath: links whose expansion passes PATH_MAX, then `..` from there."""
    steps, long, members = "", "d" * 200, []
    for letter in "abcdefghijklmnop":
        members += [f"{steps}{long}/", link(f"{steps}{letter}", long)]
        steps += f"{letter}/"
    members += [link(f"{steps}out", "../" * 16 + "../canary"), f"{steps}out/new"]
    with canary(tmp_path):
        try:
            apply_to(tmp_path / "dest", archive(*members))
        except TiffinError:
            pass


def test_a_held_directory_that_became_a_link_is_not_used_again(tmp_path):
    with canary(tmp_path) as outside:
        members = ["d/one", link("d", outside), entry("d/two", Kind.FIFO)]
        try:
            apply_to(tmp_path / "dest", archive(*members))
        except TiffinError:
            pass
        assert (tmp_path / "dest" / "d").is_symlink()


def test_swapping_directories_for_links_meanwhile_does_not_lead_out(tmp_path):
    """A racer exchanges a directory and a link to the canary while archives are unpacked through it."""
    dest = tmp_path / "dest"
    (dest / "dir").mkdir(parents=True)
    members = [f"dir/s{number % 7}/f{number}" for number in range(300)]
    data = archive(*members, "dir/.wh.file", entry("dir/sub/file", mode=0o4777, uid=1))
    with canary(tmp_path) as outside:
        (dest / "trap").symlink_to(outside)
        stop, swaps = threading.Event(), 0

        def swap() -> None:
            nonlocal swaps
            fd = os.open(dest, os.O_RDONLY)
            while not stop.is_set():
                rename_exchange(fd, "dir", fd, "trap")
                swaps += 1
            os.close(fd)

        racer = threading.Thread(target=swap)
        racer.start()
        try:
            while swaps < 1000:
                try:
                    extract_to(dest, data)
                except TiffinError:
                    pass
        finally:
            stop.set()
            racer.join()
