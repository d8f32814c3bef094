"""What the writer writes: the same bytes always, and read right by others."""

import hashlib
import io
import subprocess
import tarfile  # noqa: TID251 - a peer that reads the output

import pytest

from tests.suites.archives import archive, entry, read_all
from tiffin.errors import Conflict
from tiffin.layer import pax
from tiffin.layer.tarstream import Entry, Kind, TarWriter

MEMBERS: list[Entry | tuple[Entry, bytes]] = [
    (entry("plain", mode=0o640, uid=1, gid=2, mtime_ns=3 * 10**9), b"data"),
    entry("dir", Kind.DIRECTORY, mode=0o1777),
    entry("dir/" + "long" * 60, mtime_ns=1_700_000_000_123_456_789),
    entry("link", Kind.SYMLINK, mode=0o777, linkname="t" * 150),
    entry("hard", Kind.HARDLINK, linkname="plain"),
    entry("null", Kind.CHAR, major=1, minor=3),
    entry("disk", Kind.BLOCK, major=259, minor=70_000),
    entry("pipe", Kind.FIFO, mtime_ns=-1),
    entry("big ids", uid=2**32 - 2, gid=2**21),
    entry("caps", xattrs={"security.capability": b"\0\n\xff=", "user.a": b""}),
    entry("caf\udce9"),
]


def test_reading_gives_back_what_was_written():
    written = [member[0] if isinstance(member, tuple) else member for member in MEMBERS]
    read = [item for item, _ in read_all(archive(*MEMBERS))]
    for item in read:
        item.name = item.name.rstrip("/")
    assert read == written


def test_the_same_entries_are_the_same_bytes_everywhere():
    assert hashlib.sha256(archive(*MEMBERS)).hexdigest() == (
        "c3cd65c1281b6ccdc60e279543b64fccfb07570f9f7d4c699b4de278cd87ac9d"
    )


def test_what_ustar_can_say_needs_no_pax_header():
    assert len(archive("a", "b/")) == 2 * 512 + 1024


def test_gnu_tar_lists_it_without_a_complaint(tmp_path):
    (tmp_path / "a.tar").write_bytes(archive(*MEMBERS))
    command = ["tar", "--quoting-style=escape", "-tf", str(tmp_path / "a.tar")]
    listed = subprocess.run(command, check=True, capture_output=True)
    assert listed.stderr == b""
    assert len(listed.stdout.splitlines()) == len(MEMBERS)


def test_tarfile_reads_it():
    with tarfile.open(fileobj=io.BytesIO(archive(*MEMBERS))) as tar:
        by_name = {member.name: member for member in tar}
    assert by_name["big ids"].uid == 2**32 - 2
    assert by_name["link"].linkname == "t" * 150
    assert (by_name["disk"].devmajor, by_name["disk"].devminor) == (259, 70_000)
    assert by_name["hard"].islnk()


def test_a_file_that_shrinks_is_a_conflict(tmp_path):
    (tmp_path / "file").write_bytes(b"short")
    with (tmp_path / "file").open("rb") as file, pytest.raises(Conflict, match="shrank"):
        TarWriter(io.BytesIO()).add(entry("file", size=10), file.fileno())


def test_data_must_be_as_long_as_said():
    with pytest.raises(ValueError, match="as long as"):
        TarWriter(io.BytesIO()).add(entry("file", size=10), b"123")


@pytest.mark.parametrize("length", [1, 5, 90, 94, 95, 96, 97, 98, 985, 990, 995])
def test_a_pax_length_counts_its_own_digits(length):
    records = {b"key": b"v" * length}
    assert pax.parse_records(pax.format_records(records)) == records


@pytest.mark.parametrize("time", [0, 1, -1, 10**9, 1_700_000_000_123_456_789, -1_500_000_000, 999_999_999])
def test_pax_times_are_exact(time):
    assert pax.time_ns(pax.format_time(time)) == time


def test_a_finer_time_than_nanoseconds_is_cut_downwards():
    assert pax.time_ns(b"1.9999999999") == 1_999_999_999
    assert pax.time_ns(b"-1.0000000001") == -1_000_000_001
