"""Projects as people have them, below examples/: a C program, a Python and a Node application, a service of Debian's.

Their base is a Debian made by mmdebstrap; packages come from the registries that this machine's own clients use.
"""

import gzip
import hashlib
import json
import re
import shutil
import socket
import subprocess
import tarfile  # noqa: TID251 - reads what was written, as other programs do
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import clients
from tests.agents import make_key
from tests.command import Tiffin, fresh_engine
from tests.docs import run_page
from tests.images import debian_tar
from tests.integration.peers import Docker, need

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.registry, pytest.mark.timeout(900)]

EXAMPLES = Path(__file__).parent.parent.parent.parent / "examples"
# A Debian with node, and npm as the npm registry has it: Debian's own is 380 packages.
NODE = """\
FROM debian:bookworm-slim
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99machine \
    apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs
ADD npm-*.tgz /usr/local/lib/node_modules/
RUN cd /usr/local/lib/node_modules && mv package npm && ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
"""
NPM = "npm@10.9.3"
# A server with a repository that only a key opens, and what is needed to fetch from it.
GIT = """\
FROM debian:bookworm-slim
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99machine \
    apt-get update -qq && apt-get install -y -qq --no-install-recommends git openssh-server && mkdir -p /run/sshd
RUN useradd -m -p '*' git && git init -q -b main /srv/library && cd /srv/library && git config user.name a && \
    git config user.email a@b && echo dal >dish && git add dish && git commit -qm first && chown -R git /srv/library
COPY --chown=git:git --chmod=600 key.pub /home/git/.ssh/authorized_keys
CMD ["/usr/sbin/sshd", "-D", "-e"]
"""
PRIVATE = """\
FROM git-server AS sources
ARG HOST
RUN --mount=type=ssh --mount=type=bind,source=known_hosts,target=/etc/ssh/ssh_known_hosts \
    git clone -q ssh://git@${HOST}/srv/library /library
FROM scratch
COPY --from=sources /library/dish /
"""
# What says when or where it was made: logs, caches of tools, compiled Python with times of sources in it, and what
# engines put in the place of.
WHEN = re.compile(
    r"var/log/.*|var/cache/.*|.*\.pyc|etc/(hosts|hostname|resolv\.conf|mtab)|\.dockerenv|(dev|proc|sys)(/.*)?"
)


class Projects:
    """An engine with a small Debian, and copies of the examples to build and to change."""

    def __init__(self, tiffin: Tiffin, directory: Path) -> None:
        self.tiffin, self._directory = tiffin, directory
        self.options = clients.options(directory)
        self._impatient = directory / "impatient.secret"
        self._impatient.write_text('Acquire::Retries "0";\n')

    def copy(self, name: str) -> Path:
        """The example, in a directory of its own."""
        made = self._directory / name
        if not made.exists():
            shutil.copytree(EXAMPLES / name, made)
        return made

    def build(self, context: Path, tag: str, *options: str) -> str:
        """The plain log of a build that must succeed; skipped where a registry cannot be reached."""
        words = ("--progress", "plain", *self.options, *options)
        done = self.tiffin("build", "-t", tag, *words, context, timeout=600)
        if done.returncode:
            clients.skip_unless_reached(self._directory)
        assert done.returncode == 0, done.stderr[-6000:]
        return done.stderr

    def build_alone(self, context: Path, tag: str) -> str:
        """The log of the same with neither a network nor a result from before: all there is are cache mounts."""
        words = ("--no-cache", "--network", "none", "--secret", f"id=apt,src={self._impatient}")
        return self.tiffin.ok(
            *("build", "-t", tag, "--progress", "plain", *words, context),
            stderr=subprocess.STDOUT, timeout=600,
        )  # fmt: skip

    def need_node(self) -> None:
        """The image `node:22-slim`."""
        if self.tiffin("image", "inspect", "node:22-slim").returncode:
            context = self._directory / "node-base"
            context.mkdir(exist_ok=True)
            (context / "Dockerfile").write_text(NODE)
            packed = subprocess.run(
                [need("npm"), "pack", "-s", NPM], cwd=context, capture_output=True, text=True, timeout=120
            )
            if packed.returncode:
                clients.skip_unless_reached(self._directory)
            assert packed.returncode == 0, packed.stderr
            self.build(context, "node:22-slim")

    def start(self, image: str, port: int) -> tuple[str, int]:
        """A container of it, and where its port is here."""
        name = self.tiffin.ok("run", "-d", "-p", f"127.0.0.1::{port}", image)
        return name, int(self.tiffin.ok("port", name, str(port)).rpartition(":")[2])

    def await_health(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while self.tiffin.ok("inspect", "-f", "{{.State.Health.Status}}", name) != "healthy":
            assert time.monotonic() < deadline, self.tiffin.ok("logs", name, stderr=subprocess.STDOUT)
            time.sleep(0.1)

    def files(self, image: str) -> dict[str, tuple[Any, ...]]:
        name = self.tiffin.ok("create", image)
        archive = self._directory / "ours.tar"
        self.tiffin.ok("export", "-o", archive, name)
        self.tiffin.ok("rm", "-v", name)
        return files_in(archive)

    def stop(self, name: str) -> None:
        """It ends of itself when it is asked to."""
        self.tiffin.ok("stop", "-t", "30", name)
        assert self.tiffin.ok("inspect", "-f", "{{.State.ExitCode}}", name) in ("0", "143")
        self.tiffin.ok("rm", "-v", name)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projects]:
    with fresh_engine(tmp_path_factory.mktemp("projects"), busybox=False) as tiffin:
        tiffin.ok("import", debian_tar(), "debian:bookworm-slim", timeout=300)
        yield Projects(tiffin, tmp_path_factory.mktemp("examples"))


def ask(port: int, path: str) -> Any:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def ran(log: str) -> list[str]:
    """The steps that were executed, without FROM."""
    heads = [line.partition("] ")[2] for line in log.splitlines() if line.startswith("#") and " [" in line]
    return [head for head in heads if not head.endswith(" CACHED") and not head.startswith("FROM ")]


def test_a_c_program_is_compiled_tested_and_shipped_without_its_compiler(projects: Projects) -> None:
    tiffin, context = projects.tiffin, projects.copy("c")
    projects.build(context, "squeeze", "--build-arg", "VERSION=1.2")
    assert tiffin.ok("run", "--rm", "--network", "none", "squeeze", "--version") == "squeeze 1.2"
    text = (context / "squeeze.c").read_bytes() * 50
    done = subprocess.run(
        tiffin.argv("run", "--rm", "-i", "--network", "none", "squeeze"),
        input=text,
        capture_output=True,
        timeout=60,
    )
    assert gzip.decompress(done.stdout) == text
    assert f"{len(text)} bytes to {len(done.stdout)}, " in done.stderr.decode()
    look = "id -un; ldd $(command -v squeeze) | grep -c libz; command -v gcc make; ls /src; true"
    said = tiffin("run", "--rm", "--network", "none", "--entrypoint", "sh", "squeeze", "-c", look)
    assert said.stdout == "nobody\n1\n" and "/src" in said.stderr
    projects.build(context, "tiny", "--build-arg", "VERSION=1.2", "--target", "tiny")
    assert tiffin.ok("run", "--rm", "--network", "none", "tiny", "--version") == "squeeze 1.2"
    (image,) = json.loads(tiffin.ok("image", "inspect", "tiny"))
    assert len(image["RootFS"]["Layers"]) == 1 and image["Size"] < 2_000_000


def test_only_what_a_change_touches_is_compiled_anew(projects: Projects) -> None:
    context = projects.copy("c")
    projects.build(context, "squeeze")
    assert ran(projects.build(context, "squeeze")) == []
    with (context / "crc.c").open("a") as file:
        file.write("/* changed */\n")
    first, *others = ran(projects.build(context, "squeeze"))
    assert first == "COPY . ."
    assert [step.split()[:2] for step in others] == [["RUN", "make"]], (
        "the same program: no new layer of the result"
    )


def test_a_python_application_runs_and_a_changed_requirement_fetches_that_alone(projects: Projects) -> None:
    tiffin, context = projects.tiffin, projects.copy("python")
    log = projects.build(context, "lunch")
    assert "docopt-0.6.2.tar.gz" in log and "Created wheel for docopt" in log
    fetched = [line.split()[2] for line in log.splitlines() if " Downloading " in line]
    assert len(fetched) >= 8
    name, port = projects.start("lunch", 8000)
    assert ask(port, "/lunch/1") == {"day": 1, "dish": "rajma"}
    assert ask(port, "/lunch/9") == 404
    projects.await_health(name)
    projects.stop(name)

    (context / "requirements.txt").write_text("docopt==0.6.2\nflask==3.0.3\nwaitress==3.0.1\n")
    log = projects.build(context, "lunch")
    assert [step for step in ran(log) if "apt-get" in step or "-m venv" in step] == []
    assert [line.split()[2] for line in log.splitlines() if " Downloading " in line] == [
        "waitress-3.0.1-py3-none-any.whl"
    ]
    asked = "import waitress, importlib.metadata as m; print(m.version('waitress'))"
    assert tiffin.ok("run", "--rm", "--network", "none", "lunch", "python", "-c", asked) == "3.0.1"
    left = tiffin.ok(
        "run", "--rm", "--network", "none", "-u", "0", "lunch", "sh", "-c",
        "ls -A /root/.cache /var/lib/apt/lists /var/cache/apt; ls -d /etc/pip.conf /tmp/requirements.txt || true",
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    for what in ("wheel", "waitress", ".deb", "Packages"):
        assert what not in left
    assert left.count("No such file") >= 2


def test_a_node_application_is_tested_and_built_again_without_a_network(projects: Projects) -> None:
    projects.need_node()
    tiffin, context = projects.tiffin, projects.copy("node")
    assert "# pass 2" in projects.build(context, "lunch:test", "--target", "test")
    log = projects.build(context, "lunch:node")
    assert not [step for step in ran(log) if "npm" in step], "the packages are those of the build before"
    name, port = projects.start("lunch:node", 3000)
    assert ask(port, "/lunch/2") == {"day": 2, "dish": "chole"}
    assert ask(port, "/lunch/9") == 404
    projects.stop(name)
    look = "id -un; ls; ls node_modules | grep -c supertest; ls -A /root"
    assert tiffin.ok("run", "--rm", "--network", "none", "-u", "0", "lunch:node", "sh", "-c", look).split() == [
        *("root", "node_modules", "package.json", "server.js", "0", ".bashrc", ".profile")
    ]  # fmt: skip
    log = projects.build_alone(context, "lunch:offline")
    assert [step.split()[-4] for step in ran(log) if "npm ci" in step] == ["--prefer-offline"]


def test_a_service_of_debians_answers_and_is_built_again_without_a_network(projects: Projects) -> None:
    tiffin, context = projects.tiffin, projects.copy("redis")
    projects.build(context, "store")
    name, port = projects.start("store", 6379)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"SET dish dal\r\nGET dish\r\n")
        said = b""
        while not said.endswith(b"dal\r\n"):
            said += connection.recv(100)
    assert said == b"+OK\r\n$3\r\ndal\r\n"
    projects.await_health(name)
    assert tiffin.ok("exec", name, "id", "-un") == "redis"
    tiffin.ok("restart", name)
    projects.await_health(name)
    assert tiffin.ok("exec", name, "redis-cli", "get", "dish") == "dal"
    projects.stop(name)
    log = projects.build_alone(context, "store:again")
    assert [step.split()[0] for step in ran(log)] == ["RUN", "COPY", "WORKDIR"]
    look = "ls -A /var/lib/apt /var/cache/apt /etc/apt/apt.conf.d | grep -v -e '^$' -e ^/"
    plain, made = (
        tiffin.ok("run", "--rm", "--network", "none", "-u", "0", "--entrypoint", "sh", image, "-c", look)
        for image in ("debian:bookworm-slim", "store:again")
    )
    assert made == plain


def test_a_private_repository_is_cloned_with_a_key_that_is_in_no_layer(
    projects: Projects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiffin, key = projects.tiffin, make_key(tmp_path / "key", "of the project")
    (tmp_path / "Dockerfile").write_text(GIT)
    (tmp_path / "Dockerfile.private").write_text(PRIVATE)
    (tmp_path / ".dockerignore").write_text("*\n!key.pub\n!known_hosts\n")
    projects.build(tmp_path, "git-server")
    name = tiffin.ok("run", "-d", "git-server")
    host = tiffin.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)
    words = tiffin.ok("exec", name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
    (tmp_path / "known_hosts").write_text(f"{host} {words[0]} {words[1]}\n")
    private = ("--build-arg", f"HOST={host}", "-f", tmp_path / "Dockerfile.private", tmp_path)
    refused = tiffin("build", *private)
    assert refused.returncode == 1 and "Permission denied (publickey" in refused.stderr

    tiffin.ok("build", "-q", "-o", tmp_path / "out", "--ssh", f"default={key}", *private)
    assert (tmp_path / "out/dish").read_text() == "dal\n"
    secret = key.read_text().splitlines()[2]
    found = subprocess.run(
        ["grep", "-rlF", "-e", secret, tiffin.root], capture_output=True, text=True, timeout=120
    )
    assert found.stdout == ""

    # The machine's own git asks too, for ADD, and knows hosts that the user knows.
    (tmp_path / "home/.ssh").mkdir(parents=True)
    (tmp_path / "known_hosts").rename(tmp_path / "home/.ssh/known_hosts")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    added = f"FROM scratch\nADD ssh://git@{host}/srv/library /library\n"
    tiffin.ok("build", "-q", "-o", tmp_path / "added", "--ssh", f"default={key}", "-", input=added)
    assert (tmp_path / "added/library/dish").read_text() == "dal\n"
    tiffin.ok("rm", "-f", name)


@pytest.fixture(scope="module")
def buildkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A dockerd with the same Debian."""
    daemon = Docker(tmp_path_factory.mktemp("dockerd"), outside=True)
    daemon("import", str(debian_tar()), "debian:bookworm-slim")
    yield daemon
    daemon.close()


def files_in(archive: Path) -> dict[str, tuple[Any, ...]]:
    """Kind, mode, owner and content of every file but those that say when."""
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if WHEN.fullmatch(name := member.name.removeprefix("./").rstrip("/")):
                continue
            data = tar.extractfile(member) if member.isreg() else None
            digest = hashlib.sha256(data.read()).hexdigest() if data else member.linkname
            found[name] = (member.type, member.mode & 0o7777, member.uid, member.gid, digest)
    return found


@pytest.mark.peer
@pytest.mark.parametrize(("example", "image"), [("c", "squeeze"), ("redis", "store")])
def test_buildkit_makes_the_same_files_of_them(
    projects: Projects, buildkit: Docker, tmp_path: Path, example: str, image: str
) -> None:
    context = projects.copy(example)
    projects.build(context, image)
    buildkit.buildkit("-t", image, "--network=host", *projects.options, str(context), timeout=300)
    buildkit("create", "--name", image, image)
    buildkit("export", "-o", str(tmp_path / "theirs.tar"), image)
    ours, theirs = projects.files(image), files_in(tmp_path / "theirs.tar")
    assert sorted(ours.keys() ^ theirs.keys()) == []
    assert {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]} == {}


def test_the_page_on_projects_runs(projects: Projects, tmp_path: Path) -> None:
    projects.need_node()
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    clients.write(tmp_path, pip="pip.conf", npm="npmrc")
    said = run_page("building-projects.md", projects.tiffin, tmp_path, timeout=600)
    for expected in ("\n1000\n", "OK\ndal\n", "both there", "express is there"):
        assert expected in said
    assert said.count(" Downloading ") <= 1 and said.count("already downloaded") >= 8
