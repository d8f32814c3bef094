"""`tiffin volume ...`: making, listing, removing, keeping."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.command import Tiffin

pytestmark = pytest.mark.root


def test_a_volume_is_made_listed_inspected_and_removed(tiffin: Tiffin) -> None:
    assert tiffin.ok("volume", "create", "--label", "team=web", "--label", "bare", "data") == "data"
    assert tiffin.ok("volume", "create", "data") == "data"
    assert tiffin.ok("volume", "ls").splitlines() == ["DRIVER    VOLUME NAME", "local     data"]
    (document,) = json.loads(tiffin.ok("volume", "inspect", "data"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document.pop("CreatedAt"))
    assert document == {
        "Driver": "local",
        "Labels": {"team": "web", "bare": ""},
        "Mountpoint": f"{tiffin.root}/volumes/data/_data",
        "Name": "data",
        "Options": None,
        "Scope": "local",
    }
    assert tiffin.ok("volume", "inspect", "-f", "{{.Name}} {{.Labels.team}}", "data") == "data web"
    assert tiffin.ok("inspect", "--type", "volume", "-f", "{{.Driver}}", "data") == "local"
    assert tiffin.ok("inspect", "-f", "{{.Scope}}", "data") == "local"
    assert tiffin.ok("volume", "rm", "data") == "data"
    assert tiffin.ok("volume", "ls", "-q") == ""
    assert tiffin.fails("volume", "rm", "data") == "tiffin: get data: no such volume"
    assert tiffin.ok("volume", "rm", "-f", "data") == "data"
    assert tiffin.fails("volume", "inspect", "data") == "tiffin: get data: no such volume"


def test_a_volume_without_a_name_is_anonymous(tiffin: Tiffin) -> None:
    name = tiffin.ok("volume", "create")
    assert re.fullmatch("[0-9a-f]{64}", name)
    shown = tiffin.ok("volume", "inspect", "-f", "{{json .Labels}}", name)
    assert json.loads(shown) == {"com.docker.volume.anonymous": ""}


def test_filters_choose(tiffin: Tiffin) -> None:
    for name, label in (("one", "a=1"), ("two", "a=2"), ("three", "b=1")):
        tiffin.ok("volume", "create", "--label", label, name)
    tiffin.ok("create", "--name", "user", "-v", "two:/x", "busybox", "true")

    def listed(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return tiffin.ok("volume", "ls", "-q", *words).split()

    assert listed("dangling=true") == ["one", "three"]
    assert listed("dangling=0") == ["two"]
    assert listed("label=a") == ["one", "two"]
    assert listed("label=a=2") == ["two"]
    assert listed("label=a", "label=b") == []
    assert listed("name=^t") == ["three", "two"]
    assert listed("name=one", "name=tw") == ["one", "two"]
    assert listed("driver=local", "name=e$") == ["one", "three"]
    assert listed("driver=other") == []
    assert "invalid filter 'color'" in tiffin.fails("volume", "ls", "--filter", "color=red")
    assert "invalid value 'maybe'" in tiffin.fails("volume", "ls", "--filter", "dangling=maybe")


def test_formats_show_dockers_fields(tiffin: Tiffin) -> None:
    tiffin.ok("volume", "create", "--label", "a=1", "data")
    assert tiffin.ok("volume", "ls", "--format", '{{.Name}} {{.Label "a"}} {{.Labels}}') == "data 1 a=1"
    row = json.loads(tiffin.ok("volume", "ls", "--format", "json"))
    assert list(row) == [
        "Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope", "Size", "Status",
    ]  # fmt: skip
    assert row["Size"] == row["Links"] == "N/A"
    assert (
        tiffin.ok("volume", "ls", "--format", "table {{.Name}}\t{{.Scope}}").splitlines()[0]
        == "VOLUME NAME   SCOPE"
    )


def test_a_volume_in_use_stays(tiffin: Tiffin) -> None:
    container = tiffin.ok("create", "-v", "data:/x", "busybox", "true")
    assert tiffin.fails("volume", "rm", "data") == f"tiffin: remove data: volume is in use - [{container}]"
    assert tiffin.fails("volume", "rm", "-f", "data").endswith("volume is in use - [" + container + "]")
    assert tiffin.ok("volume", "prune", "-af") == "Total reclaimed space: 0B"
    tiffin.ok("rm", container)
    assert tiffin.ok("volume", "rm", "data") == "data"


def test_prune_lists_first_and_spares_named_volumes_unless_asked(tiffin: Tiffin) -> None:
    tiffin.ok("volume", "create", "--label", "keep", "named")
    tiffin.ok("volume", "create", "other")
    name = tiffin.ok("volume", "create")
    Path(f"{tiffin.root}/volumes/{name}/_data/file").write_bytes(b"x" * 100_000)
    told = tiffin("volume", "prune", input="n\n")
    assert told.returncode == 1 and name in told.stdout and "named" not in told.stdout
    assert (
        "WARNING! This will remove anonymous local volumes not used by at least one container" in told.stdout
    )
    assert "kB" in told.stdout
    told_again = tiffin.ok("volume", "prune", input="y\n")
    assert f"Deleted Volumes:\n{name}\n" in told_again and "Total reclaimed space: 1" in told_again
    assert tiffin.ok("volume", "ls", "-q").split() == ["named", "other"]
    assert "Deleted Volumes:\nother\n" in tiffin.ok(
        "volume", "prune", "-f", "--filter", "all=true", "--filter", "label!=keep"
    )
    assert tiffin.ok("volume", "ls", "-q") == "named"
    assert "invalid filter 'until'" in tiffin.fails("volume", "prune", "-f", "--filter", "until=1h")


def test_labels_change_and_nothing_else(tiffin: Tiffin) -> None:
    tiffin.ok("volume", "create", "--label", "a=1", "--label", "b=2", "data")
    tiffin.ok("volume", "update", "--label-add", "c=3", "--label-rm", "a", "data")
    assert json.loads(tiffin.ok("volume", "inspect", "-f", "{{json .Labels}}", "data")) == {
        "b": "2",
        "c": "3",
    }
    assert "cluster volumes" in tiffin.fails("volume", "update", "--availability", "drain", "data")
    assert tiffin.fails("volume", "update", "nope") == "tiffin: get nope: no such volume"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--opt", "tpye=tmpfs", "data"), 'create data: invalid option: "tpye"'),
        (("--opt", "type=tmpfs", "data"), 'create data: missing required option: "device"'),
        (("--opt", "device=/x", "data"), 'create data: missing required option: "type"'),
        (("-o", "type=none", "-o", "o=bind", "-o", "device=x", "data"), "must be an absolute path"),
        (("-o", "type=../x", "-o", "device=x", "data"), "invalid type"),
        (("-o", "type=tmpfs", "-o", "device=a\nb", "data"), "want one line"),
        (("--driver", "nope", "data"), 'error looking up volume plugin nope: plugin "nope" not found'),
        (("../x",), "includes invalid characters for a local volume name"),
        (("--name", "one", "two"), "conflicting options"),
    ],
)
def test_what_is_no_volume_is_refused(shared: Tiffin, words: tuple[str, ...], text: str) -> None:
    done = shared("volume", "create", *words)
    assert done.returncode in (1, 125) and text in done.stderr
    assert shared.ok("volume", "ls", "-q") == ""


def test_a_volume_is_exported_and_imported(tiffin: Tiffin, tmp_path: Path) -> None:
    tiffin.ok(
        "run",
        "--rm",
        "-v",
        "data:/d",
        "busybox",
        "sh",
        "-c",
        "echo kept > /d/file; mkdir /d/sub; chown 7:8 /d/sub",
    )
    tiffin.ok("volume", "export", "-o", str(tmp_path / "data.tar"), "data")
    tiffin.ok("volume", "create", "copy")
    tiffin.ok("volume", "import", "copy", str(tmp_path / "data.tar"))
    there = f"{tiffin.root}/volumes/copy/_data"
    assert Path(f"{there}/file").read_text() == "kept\n"
    assert os.stat(f"{there}/sub").st_uid == 7
    piped = subprocess.run(
        tiffin.argv("volume", "export", "copy"), capture_output=True, timeout=60, check=True
    )
    Path(f"{there}/file").write_text("changed\n")
    subprocess.run(tiffin.argv("volume", "import", "copy"), input=piped.stdout, timeout=60, check=True)
    assert Path(f"{there}/file").read_text() == "kept\n"
    assert tiffin.fails("volume", "export", "-o", str(tmp_path / "x.tar"), "nope").endswith("no such volume")
    assert not (tmp_path / "x.tar").exists()


def test_what_happens_to_volumes_is_told(tiffin: Tiffin) -> None:
    container = tiffin.ok("run", "-d", "-v", "data:/d:ro", "busybox", "true")
    tiffin.ok("wait", container)
    tiffin.ok("rm", container)
    tiffin.ok("volume", "rm", "data")
    lines = tiffin.ok(
        "events", "--since", "1h", "--until", "0s", "--filter", "type=volume", "--format", "json"
    ).splitlines()
    told = [json.loads(line) for line in lines]
    assert [event["Action"] for event in told] == ["create", "mount", "unmount", "destroy"]
    assert all(event["Actor"]["ID"] == "data" for event in told)
    mounted = told[1]["Actor"]["Attributes"]
    assert mounted["container"] == container and mounted["destination"] == "/d"
    assert mounted["read/write"] == "false" and mounted["driver"] == "local"
