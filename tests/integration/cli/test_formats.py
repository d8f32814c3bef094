"""--format, --filter and -q of inspect, history, images and ps: what the real Docker prints for the same things."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.command import Tiffin, fresh_engine
from tests.images import busybox_tar
from tests.integration.peers import Docker, docker  # noqa: F401 - a fixture

pytestmark = pytest.mark.root
_CREATE = (
    "-l", "x=y", "-l", "build-date=now", "-p", "8080:80", "-v", "/tmp:/x", "-e", "A=b c", "-w", "/tmp",
    "busybox:latest", "sh", "-c", "echo a    b  cccccccccccccccccc",
)  # fmt: skip


class Both(NamedTuple):
    """The same image and container in both engines."""

    tiffin: Tiffin
    docker: Docker


@pytest.fixture(scope="module")
def both(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:  # noqa: F811
    where = tmp_path_factory.mktemp("both")
    (where / "Dockerfile").write_text(
        'FROM scratch\nADD busybox.tar /\nENV A=1 B="two words"\nLABEL l="a b" m=1\nEXPOSE 80 53/udp\n'
        'VOLUME /data\nUSER user\nWORKDIR /home\nENTRYPOINT ["/bin/sh"]\nCMD ["-c", "true"]\n'
    )
    (where / "busybox.tar").write_bytes(busybox_tar().read_bytes())
    with fresh_engine(where / "engine") as tiffin:
        tiffin.ok("build", "-q", "-t", "made:1", where)
        tiffin.ok("tag", "made:1", "other/name:2")
        archive = where / "image.tar"
        tiffin.ok("save", "--format", "docker-archive", "-o", archive, "made:1", "other/name:2", "busybox")
        docker("load", "-i", str(archive))
        for create in (tiffin.ok, docker):
            create("create", "--name", "first", *_CREATE)
            create("create", "--name", "second", "--network", "none", "busybox:latest", "true")
        yield Both(tiffin, docker)
        docker("rm", "-f", "first", "second")
        docker("rmi", "-f", "made:1", "other/name:2", "busybox:latest")


@pytest.mark.peer
@pytest.mark.parametrize(
    "template",
    [
        "{{.Id}}", "{{.ID}}", "{{.RepoTags}} {{.RepoDigests}}", "{{.Config.Cmd}} {{.Config.Entrypoint}}",
        "{{.Config.Env}}", "{{.Config.Labels}}", "{{.Config.ExposedPorts}} {{.Config.Volumes}}",
        "{{json .Config.ExposedPorts}} {{json .Config.Cmd}} {{json .Config.OnBuild}}", "{{.Config.OnBuild}}",
        "{{.Os}}/{{.Architecture}} {{.Author}} {{.Comment}}", "{{.RootFS}} {{.RootFS.Layers | len}}",
        "{{range .Config.Env}}{{println .}}{{end}}", '{{index .Config.Labels "l"}}|{{index .Config.Labels "none"}}',
        "{{.Config.Labels.m}} {{.Config.Labels.none}}", '{{join .RepoTags ", "}}',
        "{{.Config.User}}:{{.Config.WorkingDir}}",
        "{{if .Config.Labels}}labelled{{end}}{{if .Config.OnBuild}}x{{else}}none{{end}}", "{{.Created}}",
        '{{range $k, $v := .Config.ExposedPorts}}{{$k}} {{end}}', '{{upper .Os}} {{title "a b"}} {{truncate .Id 10}}',
    ],
)  # fmt: skip
def test_image_inspect_prints_what_docker_prints(both: Both, template: str) -> None:
    words = ("image", "inspect", "-f", template, "made:1")
    assert both.tiffin(*words).stdout == both.docker(*words)


@pytest.mark.peer
@pytest.mark.parametrize(
    "template",
    [
        "{{.Name}} {{.Path}} {{.Args}}",
        "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.StartedAt}}",
        "{{.Config.Image}} {{.Image}}", "{{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Labels}}",
        "{{json .Config.Labels}} {{json .HostConfig.PortBindings}}",
        "{{.HostConfig.PortBindings}} {{.HostConfig.Binds}}",
        "{{.HostConfig.RestartPolicy}} {{.HostConfig.Memory}} {{.HostConfig.NanoCPUs}}",
        "{{.HostConfig.PidsLimit}} {{.HostConfig.CapAdd}} {{json .HostConfig.CapAdd}}", "{{.Config.ExposedPorts}}",
        "{{range .Mounts}}{{.Type}}:{{.Source}}:{{.Destination}}:{{.RW}}{{end}} {{len .Mounts}}",
        "{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}}{{end}}",
        "{{.NetworkSettings.IPAddress}}|{{.NetworkSettings.Ports}}", "{{.RestartCount}}",
        '{{with index .Config.Labels "x"}}<{{.}}>{{end}}{{with index .Config.Labels "q"}}{{else}}none{{end}}',
        "{{.HostConfig.AutoRemove}} {{.HostConfig.ReadonlyRootfs}} {{.Config.Tty}} {{.Config.OpenStdin}} {{.ExecIDs}}",
    ],
)  # fmt: skip
def test_container_inspect_prints_what_docker_prints(both: Both, template: str) -> None:
    words = ("inspect", "-f", template, "first")
    assert both.tiffin(*words).stdout == both.docker(*words)


@pytest.mark.peer
@pytest.mark.parametrize(
    "words",
    [
        ("images", "--format", "{{.Repository}}:{{.Tag}}|{{.ID}}|{{.Size}}|{{.Digest}}|{{.CreatedAt}}"),
        ("images", "--format", "table {{.Repository}}\\t{{.Tag}}\\t{{.Size}}"),
        ("images", "-q"), ("images", "-q", "--no-trunc"), ("images", "--digests"), ("images", "made"),
        ("images", "*/*"),
        ("images", "--format", "{{json .Repository}} {{upper .Tag}}"), ("images", "-f", "label=m=1", "-q"),
        ("images", "-f", "reference=*:1", "-q"), ("images", "-f", "before=made:1", "-q"),
        ("images", "-f", "dangling=true"),
        ("history", "made:1", "--format", "{{.CreatedBy}}|{{.Size}}|{{.ID}}|{{.Comment}}"), ("history", "-q", "made:1"),
        ("history", "--no-trunc", "-H=false", "--format", "{{.CreatedBy}}{{.CreatedSince}}", "made:1"),
        ("history", "--no-trunc", "--format", "json", "made:1"),
        ("ps", "-a", "--format", "{{.Names}}|{{.Image}}|{{.Command}}|{{.Labels}}|{{.Mounts}}|{{.Networks}}"),
        ("ps", "-a", "--format", "{{.State}}|{{.Status}}|{{.Ports}}|{{.LocalVolumes}}|{{.Label \"x\"}}|{{.Size}}"),
        ("ps", "-a", "--no-trunc", "--format", "{{.Command}}"), ("ps",), ("ps", "--format", "table {{.Names}}"),
        ("ps", "-a", "--format", 'table {{.Names}}\\t{{.Label "build-date"}}\\t{{.Mounts}}'),
        ("ps", "-l", "--format", "{{.Names}}"), ("ps", "-n", "1", "--format", "{{.Names}}"),
        ("ps", "-n", "5", "--format", "{{.Names}}"), ("ps", "-as", "--format", "{{.Size}}"),
    ],
)  # fmt: skip
def test_lists_print_what_docker_prints(both: Both, words: tuple[str, ...]) -> None:
    ours, theirs = both.tiffin(*words), both.docker(*words)
    assert ours.returncode == 0, ours.stderr
    if words[-1] == "json" or "json" in words:
        found, want = ([json.loads(line) for line in text.splitlines()] for text in (ours.stdout, theirs))
        assert [row | {"CreatedSince": ""} for row in found] == [row | {"CreatedSince": ""} for row in want]
        return
    assert _lines(ours.stdout) == _lines(theirs)


def _lines(text: str) -> list[str]:
    """Sorted, since what was made in the same second may come in either order; ages, by which columns move, as one."""
    aged = re.sub(r"(CREATED|[A-Za-z0-9]+( an?)?( [a-z]+)? ago) +", "AGO ", text)
    return sorted(line.rstrip() for line in aged.splitlines())


@pytest.mark.peer
@pytest.mark.parametrize(
    "filters",
    [
        ("name=^/first$",), ("name=first",), ("name=^f",), ("name=first", "name=second"), ("label=x",),
        ("label=x=z",), ("label=x=y", "label=build-date"), ("label=x", "label=nope"), ("status=created",),
        ("status=running", "status=created"), ("ancestor=busybox",), ("ancestor=made:1",), ("volume=/x",),
        ("network=bridge",), ("network=none",), ("network=none", "network=bridge"), ("is-task=false",),
        ("is-task=true",), ("health=none",), ("health=healthy",), ("before=second",), ("since=first",), ("exited=0",),
    ],
)  # fmt: skip
def test_filters_of_ps_choose_what_docker_chooses(both: Both, filters: tuple[str, ...]) -> None:
    words = ["ps", "-a", "--format", "{{.Names}}", *(word for text in filters for word in ("--filter", text))]
    assert both.tiffin.ok(*words).split() == both.docker(*words).split()


def test_filters_of_ps_by_port(shared: Tiffin) -> None:
    shared.ok("create", "--name", "ported", "-p", "8080:80", "--expose", "53/udp", "busybox", "true")
    for text, found in (
        ("publish=80", True), ("publish=79-81/tcp", True), ("publish=8080", False), ("publish=53/udp", False),
        ("expose=53/udp", True), ("expose=80", True), ("expose=81", False),
    ):  # fmt: skip
        assert shared.ok("ps", "-aq", "--filter", text) == (shared.ok("ps", "-aq") if found else ""), text
    shared.ok("rm", "ported")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("ps", "--filter", "colour=red"), 1, "invalid filter 'colour'; known: ancestor"),
        (("ps", "--filter", "name"), 125, "bad format of filter"),
        (("ps", "--filter", "status=fine"), 1, "invalid filter 'status=fine'"),
        (("ps", "--filter", "exited=x"), 1, "invalid filter 'exited=x'"),
        (("ps", "--filter", "name=("), 1, "invalid filter 'name=('"),
        (("ps", "--filter", "publish=x"), 1, "invalid filter 'publish=x'"),
        (("ps", "--filter", "health=good"), 1, "invalid filter 'health=good'"),
        (("ps", "--filter", "since=absent"), 1, "No such container: absent"),
        (("ps", "--format", "{{"), 1, "template: :1: unclosed action"),
        (("inspect", "-f", "{{", "busybox"), 64, "template parsing error: template: :1: unclosed action"),
        (("inspect", "-f", "{{.Nope}}", "busybox"), 1, 'template: :1:2: executing "" at <.Nope>'),
        (("inspect", "--type", "moon", "busybox"), 1, 'unknown type: "moon": must be one of'),
        (("inspect", "--type", "container", "busybox"), 1, "No such container: busybox"),
        (("image", "inspect", "absent"), 1, "No such image: absent"),
        (("history", "absent"), 1, "No such image: absent"),
        (("history", "--format", "{{.Nope}}", "busybox"), 1, "can't evaluate field Nope"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(shared: Tiffin, words: tuple[str, ...], code: int, text: str) -> None:
    assert text in shared.fails(*words, code=code)


def test_inspect_prints_what_it_found_beside_what_it_did_not(shared: Tiffin) -> None:
    done = shared("inspect", "absent", "busybox")
    assert done.returncode == 1
    assert [document["RepoTags"] for document in json.loads(done.stdout)] == [["busybox:latest"]]
    assert done.stderr == "tiffin: No such object: absent\n"
    assert shared("inspect", "absent").stdout == "[]\n"
    assert shared("inspect", "-f", "{{.Id}}", "absent").stdout == "\n"
    assert shared("inspect", "-f", "{{.RepoTags}}", "absent", "busybox").stdout == "[busybox:latest]\n"
    assert len(shared.ok("inspect", "--format", "json", "busybox").splitlines()) == 1


def test_sizes_of_containers(shared: Tiffin) -> None:
    shared.ok(
        "run",
        "--name",
        "writer",
        "--network",
        "none",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/f",
        "bs=1000",
        "count=5",
    )
    image = int(shared.ok("inspect", "-f", "{{.Size}}", "busybox"))
    assert shared.ok("inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "writer") == f"5000 {5000 + image}"
    line = shared.ok("ps", "-as").splitlines()[1]
    assert re.search(r"writer +5kB \(virtual 1\.99MB\)$", line), line
    assert shared.ok("ps", "-a", "--format", "{{.Size}}").startswith("5kB (virtual")
    shared.ok("rm", "writer")


def test_what_a_label_smuggles_in_is_shown(shared: Tiffin, tmp_path: Path) -> None:
    shared.ok("create", "--name", "bad", "-l", "x=\x1b[31mred", "busybox", "true")
    assert shared.ok("ps", "-a", "--format", '{{.Label "x"}}') == "\\x1b[31mred"
    assert shared.ok("inspect", "-f", "{{.Config.Labels.x}}", "bad") == "\\x1b[31mred"
    shared.ok("rm", "bad")
