"""Volumes of a driver that is another program: Docker's plugin protocol, spoken with a real one."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.volume_plugin import VolumePlugin, running

pytestmark = pytest.mark.root


def configure(directory: Path, timeout: int = 10) -> None:
    """Ten seconds for what a plugin answers at once, and a second for what it never does."""
    lines = (
        "[volumes]",
        f'plugin-sockets = ["{directory}/sockets"]',
        f'plugin-specs = ["{directory}/specs"]',
    )
    (directory / "config.toml").write_text("\n".join((*lines, f"plugin-timeout = {timeout}", "")))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory whose `sockets` and `specs` are where plugins are looked for."""
    made = tmp_path / "plugins"
    (made / "sockets").mkdir(parents=True)
    (made / "specs").mkdir()
    configure(made)
    monkeypatch.setenv("TIFFIN_CONFIG", str(made / "config.toml"))
    return made


@pytest.fixture
def plugin(settings: Path, tmp_path: Path) -> Iterator[VolumePlugin]:
    with running(tmp_path / "kept", settings / "sockets" / "keeper.sock") as found:
        yield found


def test_a_volume_of_a_plugin_lives_as_any_other(tiffin: Tiffin, plugin: VolumePlugin) -> None:
    assert tiffin.ok("volume", "create", "-d", "keeper", "-o", "size=3", "--label", "a=b", "data") == "data"
    assert plugin.log("Create") == [("Create", {"Name": "data", "Opts": {"size": "3"}})]
    assert tiffin.ok("volume", "create", "-d", "keeper", "data") == "data", "it is there"
    assert len(plugin.log("Create")) == 1
    script = "echo kept > /d/file; grep ' /d ' /proc/mounts"
    tiffin.ok("run", "--rm", "--name", "one", "-v", "data:/d", "busybox", "sh", "-c", script)
    assert (plugin.directory / "volumes" / "data" / "file").read_text() == "kept\n"
    (_, mounted), (_, unmounted) = plugin.log("Mount", "Unmount")
    assert mounted == unmounted and mounted["Name"] == "data" and len(mounted["ID"]) == 64
    assert plugin.users("data") == []
    refused = tiffin("run", "--rm", "-v", "data:/d:ro", "busybox", "touch", "/d/x")
    assert "Read-only file system" in refused.stderr
    assert tiffin.ok("volume", "rm", "data") == "data"
    assert plugin.log("Remove") == [("Remove", {"Name": "data"})]
    assert tiffin.ok("volume", "ls", "-q") == "" and "nothing is damaged" in tiffin.ok("fsck")


def test_it_is_listed_and_inspected_with_what_its_plugin_says(tiffin: Tiffin, plugin: VolumePlugin) -> None:
    tiffin.ok("volume", "create", "-d", "keeper", "--label", "a=b", "-o", "k=v", "data")
    tiffin.ok("volume", "create", "here")
    (plugin.directory / "volumes" / "theirs").mkdir()
    (plugin.directory / "mounted" / "theirs").mkdir()
    assert tiffin.ok("volume", "ls").splitlines()[1:] == [
        "keeper    data", "local     here", "keeper    theirs",
    ]  # fmt: skip
    assert tiffin.ok("volume", "ls", "-q", "-f", "driver=keeper").split() == ["data", "theirs"]
    assert tiffin.ok("volume", "ls", "-q", "-f", "driver=local") == "here"
    container = tiffin.ok("run", "-d", "--name", "one", "-v", "data:/d", "busybox", "sleep", "1000")
    place = str(plugin.directory / "volumes" / "data")
    (document,) = json.loads(tiffin.ok("volume", "inspect", "data"))
    assert document == {
        "CreatedAt": "2026-01-02T03:04:05Z",
        "Driver": "keeper",
        "Labels": {"a": "b"},
        "Mountpoint": place,
        "Name": "data",
        "Options": {"k": "v"},
        "Scope": "global",
        "Status": {"users": 1},
    }
    (mount,) = json.loads(tiffin.ok("inspect", "-f", "{{json .Mounts}}", "one"))
    assert (mount["Driver"], mount["Name"], mount["Source"]) == ("keeper", "data", place)
    assert tiffin.fails("volume", "rm", "data") == f"tiffin: remove data: volume is in use - [{container}]"
    assert plugin.log("Remove") == []
    assert "data          1         N/A" in tiffin.ok("system", "df", "-v")
    tiffin.ok("rm", "-f", "one")
    assert tiffin.ok("volume", "prune", "-af").startswith("WARNING! This will remove all local volumes")
    assert tiffin.ok("volume", "ls", "-q").split() == ["data", "theirs"], "a plugin's are not pruned"
    assert tiffin.ok("volume", "inspect", "-f", "{{.Driver}}", "theirs") == "keeper"
    tiffin.ok("volume", "rm", "data", "theirs")
    assert os.listdir(plugin.directory / "volumes") == []


def test_a_volume_that_a_plugin_has_is_not_made_beside_it(tiffin: Tiffin, plugin: VolumePlugin) -> None:
    (plugin.directory / "volumes" / "theirs").mkdir()
    (plugin.directory / "mounted" / "theirs").mkdir()
    (plugin.directory / "volumes" / "theirs" / "file").write_text("theirs")
    assert tiffin.ok("run", "--rm", "-v", "theirs:/d", "busybox", "cat", "/d/file") == "theirs"
    assert plugin.log("Create") == []


def test_options_of_a_container_make_volumes_of_the_driver(tiffin: Tiffin, plugin: VolumePlugin) -> None:
    option = "type=volume,src=one,dst=/one,volume-driver=keeper,volume-opt=a=b"
    tiffin.ok("run", "--rm", "--mount", option, "busybox", "true")
    words = ("--volume-driver", "keeper", "-v", "two:/two", "-v", "/nameless")
    tiffin.ok("create", "--name", "user", *words, "busybox", "true")
    made = [asked for _, asked in plugin.log("Create")]
    assert made[0] == {"Name": "one", "Opts": {"a": "b"}} and made[1]["Name"] == "two" and len(made) == 3
    assert tiffin.ok("inspect", "-f", "{{.HostConfig.VolumeDriver}}", "user") == "keeper"
    tiffin.ok("rm", "-v", "user")
    assert [asked["Name"] for _, asked in plugin.log("Remove")] == [made[2]["Name"]], "the nameless one"
    refused = tiffin("run", "--rm", "--mount", "src=one,dst=/x,volume-driver=local", "busybox", "true")
    assert refused.returncode == 125 and "a volume of that name has the driver keeper" in refused.stderr


def test_it_is_filled_from_the_image_and_shared_in_parts(tiffin: Tiffin, plugin: VolumePlugin) -> None:
    words = ("--volume-driver", "keeper", "-v", "tools:/bin")
    assert tiffin.ok("run", "--rm", *words, "busybox", "ls", "/bin/busybox") == "/bin/busybox"
    assert (plugin.directory / "volumes" / "tools" / "busybox").exists()
    part = "src=tools,dst=/b,volume-subpath=busybox"
    assert tiffin.ok("run", "--rm", "--mount", part, "busybox", "ls", "/b") == "/b"
    os.symlink("/etc", plugin.directory / "volumes" / "tools" / "out")
    refused = tiffin("run", "--rm", "--mount", "src=tools,dst=/b,volume-subpath=out", "busybox", "true")
    assert "it leads out of it" in refused.stderr
    assert plugin.users("tools") == []


def test_archives_and_copies_mount_it_for_as_long_as_they_take(
    tiffin: Tiffin, plugin: VolumePlugin, tmp_path: Path
) -> None:
    tiffin.ok("volume", "create", "-d", "keeper", "data")
    (plugin.directory / "volumes" / "data" / "file").write_text("kept")
    tiffin.ok("volume", "export", "-o", str(tmp_path / "data.tar"), "data")
    tiffin.ok("volume", "create", "-d", "keeper", "copy")
    tiffin.ok("volume", "import", "copy", str(tmp_path / "data.tar"))
    assert (plugin.directory / "volumes" / "copy" / "file").read_text() == "kept"
    tiffin.ok("create", "--name", "one", "-v", "data:/d", "busybox", "true")
    tiffin.ok("cp", "one:/d/file", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept"
    assert plugin.users("data") == plugin.users("copy") == []
    assert len(plugin.log("Mount")) == len(plugin.log("Unmount")) == 3


def test_two_containers_have_it_and_each_gives_it_back(tiffin: Tiffin, plugin: VolumePlugin) -> None:
    tiffin.ok("volume", "create", "-d", "keeper", "data")
    ids = [tiffin.ok("run", "-d", "-v", "data:/d", "busybox", "sleep", "1000") for _ in range(2)]
    assert plugin.users("data") == sorted(ids)
    tiffin.ok("exec", ids[0], "touch", "/d/file")
    assert tiffin.ok("exec", ids[1], "ls", "/d") == "file"
    tiffin.ok("rm", "-f", ids[0])
    assert plugin.users("data") == [ids[1]]
    tiffin.ok("restart", "-t", "0", ids[1])
    assert plugin.users("data") == [ids[1]]
    tiffin.ok("stop", "-t", "0", ids[1])
    assert plugin.users("data") == []


def test_what_a_killed_supervisor_had_is_given_back_by_the_next_command(
    tiffin: Tiffin, plugin: VolumePlugin
) -> None:
    words = ("--volume-driver", "keeper", "-v", "data:/d")
    container = tiffin.ok("run", "-d", *words, "busybox", "sleep", "1000")
    db = sqlite3.connect(f"{tiffin.root}/tiffin.db")
    (supervisor,) = db.execute("SELECT supervisor FROM containers WHERE id = ?", (container,)).fetchone()
    db.close()
    pidfd = os.pidfd_open(supervisor)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    import select

    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
    assert plugin.users("data") == [container]
    assert tiffin.ok("ps", "-q") == ""
    assert plugin.users("data") == []


def test_a_killed_export_is_cleaned_up_by_the_next_command(
    tiffin: Tiffin, plugin: VolumePlugin, tmp_path: Path
) -> None:
    tiffin.ok("volume", "create", "-d", "keeper", "data")
    with open(plugin.directory / "volumes" / "data" / "big", "wb") as file:
        file.truncate(1 << 30)
    export = tiffin.start("volume", "export", "data")
    assert export.stdout is not None
    assert export.stdout.buffer.read(1)  # type: ignore[attr-defined]
    (user,) = plugin.users("data")
    assert tiffin.fails("volume", "rm", "data").endswith(f"volume is in use - [{user}]")
    export.kill()
    export.communicate()
    tiffin.ok("ps")
    assert plugin.users("data") == []
    tiffin.ok("volume", "rm", "data")


def test_addresses_in_files_are_found(tiffin: Tiffin, plugin: VolumePlugin, settings: Path) -> None:
    (settings / "specs" / "spec.spec").write_text(f"unix://{plugin.socket}\n")
    (settings / "specs" / "deep").mkdir()
    document = {"Name": "deep", "Addr": f"unix://{plugin.socket}"}
    (settings / "specs" / "deep" / "deep.json").write_text(json.dumps(document))
    for name in ("spec", "deep"):
        tiffin.ok("volume", "create", "-d", name, f"of-{name}")
    assert len(plugin.log("Create")) == 2
    for name, text, why in (
        ("empty.spec", "", "has no address"),
        ("odd.json", '{"Addr": 5}', 'want {"Name": ..., "Addr": ...}'),
        ("deep2.json", "[" * 5000, "is no good"),
        ("tls.json", '{"Addr": "tcp://127.0.0.1:1", "TLSConfig": {"CAFile": "x"}}', "asks for TLS"),
        ("gone.spec", "tcp://127.0.0.1:1", "Connection refused"),
    ):
        (settings / "specs" / name).write_text(text)
        done = tiffin("volume", "create", "-d", name.partition(".")[0], "xx")
        assert done.returncode in (1, 125) and why in done.stderr, done.stderr
        (settings / "specs" / name).unlink()
    for name in ("nope", "../keeper", "a/b"):
        assert tiffin.fails("volume", "create", "-d", name, "xx").endswith(f'plugin "{name}" not found')
    for words in (("--volume-driver", "nope", "-v", "xx:/x"), ("--mount", "dst=/x,volume-driver=nope")):
        done = tiffin("create", *words, "busybox", "true")
        assert done.returncode == 125 and done.stderr.endswith(
            'error looking up volume plugin nope: plugin "nope" not found\n'
        )
    assert tiffin.ok("volume", "ls", "-q", "-f", "name=^x") == "" and tiffin.ok("ps", "-aq") == ""


def check_moods(
    tiffin: Tiffin, plugin: VolumePlugin, moods: list[tuple[dict[str, object], str]], settings: Path
) -> None:
    tiffin.ok("volume", "create", "-d", "keeper", "data")
    for mood, why in moods:
        plugin.misbehave(Mount=mood)
        configure(settings, timeout=1 if "hang" in mood or "drip" in mood else 10)
        done = tiffin("run", "--rm", "-v", "data:/d", "busybox", "true")
        configure(settings)
        assert done.returncode == 125 and "cannot mount volume data" in done.stderr, (mood, done)
        assert why in done.stderr and len(done.stderr.splitlines()) == 1, (why, done.stderr)
        assert "\x1b" not in done.stderr and len(done.stderr) < 2000
        plugin.misbehave()
        if plugin.has_ended():
            plugin.start()
    assert tiffin.ok("ps", "-aq") == ""
    assert tiffin.ok("run", "--rm", "-v", "data:/d", "busybox", "echo", "well") == "well"


def test_a_plugin_that_gives_no_answer_keeps_the_container_from_starting_and_no_more(
    tiffin: Tiffin, plugin: VolumePlugin, settings: Path
) -> None:
    moods: list[tuple[dict[str, object], str]] = [
        ({"hang": True}, "no answer in 1 s"),
        ({"die": True}, "closed"),
        ({"reply": '{"Mountpoint": "' + "x" * 50 + '"}', "drip": True}, "no answer in 1 s"),
        ({"reply": "no JSON"}, "its answer is no JSON object"),
        ({"reply": "[" * 100_000}, "its answer is no JSON object"),
        ({"reply": '{"a": "' + "x" * (5 << 20) + '"}'}, "its answer has more than 4 MiB"),
        ({"reply": '{"Err": "the disk\\n is \\u001b[31mon fire"}'}, "VolumeDriver.Mount: the disk is"),
        ({"reply": "<html>", "status": 503}, "VolumeDriver.Mount: <html>"),
    ]
    check_moods(tiffin, plugin, moods, settings)


def test_a_plugin_that_lies_about_a_place_keeps_the_container_from_starting_and_no_more(
    tiffin: Tiffin, plugin: VolumePlugin, settings: Path
) -> None:
    moods: list[tuple[dict[str, object], str]] = [
        ({"reply": json.dumps({"Mountpoint": place})}, why)
        for place, why in (
            ("", "it gave no mountpoint"),
            (5, "its mountpoint is no text"),
            ("relative", "its mountpoint is no absolute path"),
            ("/a\0b", "its mountpoint is no absolute path"),
            ("/" + "x" * 5000, "its mountpoint is no absolute path"),
            ("/nowhere/at/all", "no such file or directory"),
            ("/etc/passwd", "not a directory"),
            ("//../", "the machine's own root"),
            ("/proc/self/root", "too many levels of symbolic links"),
        )
    ]
    check_moods(tiffin, plugin, moods, settings)


def test_a_dead_plugin_is_told_later_and_holds_nothing_up(
    tiffin: Tiffin, plugin: VolumePlugin, settings: Path
) -> None:
    tiffin.ok("volume", "create", "-d", "keeper", "data")
    container = tiffin.ok("run", "-d", "--name", "one", "-v", "data:/d", "busybox", "sleep", "1000")
    plugin.stop()
    configure(settings, timeout=1)
    tiffin.ok("stop", "-t", "0", "one")
    error = tiffin.ok("inspect", "-f", "{{.State.Status}} {{.State.Error}}", "one")
    assert error.startswith("exited while taking it down: cannot unmount volume data: volume plugin keeper")
    listed = tiffin("volume", "ls")
    assert listed.returncode == 0 and "keeper    data" in listed.stdout
    assert "volume plugin keeper: Plugin.Activate" in listed.stderr
    failed = tiffin("start", "one")
    assert failed.returncode == 1 and "cannot mount volume data" in failed.stderr
    assert "volume plugin keeper" in tiffin("volume", "inspect", "data").stderr
    assert plugin.users("data") == [container]
    plugin.start()
    configure(settings)
    tiffin.ok("start", "one")
    tiffin.ok("rm", "-f", "one")
    assert plugin.users("data") == []
    plugin.misbehave(Remove={"reply": '{"Err": "not now"}'})
    said = tiffin("volume", "rm", "data").stderr
    assert "remove data: VolumeDriver.Remove: not now" in said
    assert tiffin.ok("volume", "ls", "-q") == "data"
    plugin.stop()
    tiffin.ok("volume", "rm", "-f", "data")
    assert tiffin.ok("volume", "ls", "-q") == ""


def test_a_container_goes_when_its_plugin_is_dead(
    tiffin: Tiffin, plugin: VolumePlugin, settings: Path
) -> None:
    words = ("--volume-driver", "keeper", "-v", "data:/d", "-v", "/nameless")
    tiffin.ok("run", "-d", "--name", "one", *words, "busybox", "sleep", "1000")
    plugin.stop()
    configure(settings, timeout=1)
    tiffin.ok("rm", "-fv", "one")
    assert tiffin.ok("ps", "-aq") == ""
    assert len(tiffin.ok("volume", "ls", "-q").split()) == 2, "its volumes are the plugin's to remove"


@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ({"Activate": {"reply": '{"Implements": ["NetworkDriver"]}'}}, "is not a VolumeDriver"),
        ({"Activate": {"reply": '{"Implements": 5}'}}, "is not a VolumeDriver"),
        ({"Create": {"reply": '{"Err": "full"}'}}, "create data: VolumeDriver.Create: full"),
        ({"Get": {"reply": '{"Volume": 5}'}}, "its answer has no volume"),
    ],
)
def test_a_volume_that_its_plugin_does_not_make_is_not_there(
    tiffin: Tiffin, plugin: VolumePlugin, mood: dict[str, dict[str, object]], why: str
) -> None:
    plugin.misbehave(**mood)
    for words in (
        ("volume", "create", "-d", "keeper", "data"),
        ("create", "--volume-driver", "keeper", "-v", "data:/d", "busybox", "true"),
    ):
        done = tiffin(*words)
        assert done.returncode in (1, 125) and why in done.stderr, done.stderr
    plugin.misbehave()
    assert tiffin.ok("volume", "ls", "-q") == "" and tiffin.ok("ps", "-aq") == ""


def test_a_plugin_that_lies_in_a_list_is_named_and_the_rest_is_shown(
    tiffin: Tiffin, plugin: VolumePlugin
) -> None:
    tiffin.ok("volume", "create", "here")
    for reply in ('{"Volumes": 5}', '{"Volumes": [5]}', '{"Volumes": [{"Name": 5}]}'):
        plugin.misbehave(List={"reply": reply})
        listed = tiffin("volume", "ls", "-q")
        assert (
            listed.stdout == "here\n"
            and "volume plugin keeper: VolumeDriver.List: its answer" in listed.stderr
        )
    plugin.misbehave(List={"reply": '{"Volumes": [{"Name": "\\u001b[31mred"}]}'})
    assert "\x1b" not in tiffin.ok("volume", "ls")


def test_a_plugin_that_does_not_say_what_it_can_is_local(tiffin: Tiffin, plugin: VolumePlugin) -> None:
    tiffin.ok("volume", "create", "-d", "keeper", "data")
    plugin.misbehave(Capabilities={"reply": "404 page not found", "status": 404})
    assert tiffin.ok("volume", "inspect", "-f", "{{.Scope}}", "data") == "local"
