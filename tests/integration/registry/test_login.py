"""Logging in, on real registries, from a file that docker, podman and skopeo read and write too."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.command import Tiffin
from tests.credential_helper import install
from tests.integration.peers import need, run
from tests.integration.registry.test_client import push_image
from tests.registries import RunningRegistry, docker_registry, make_tls, token_server
from tiffin.config import RegistrySettings
from tiffin.registry.client import Registry
from tiffin.registry.credentials import Credential, Credentials

pytestmark = pytest.mark.registry

USER, PASSWORD = "alice", "hunter2:and more"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry with passwords, and an image `team/web:1`."""
    directory = tmp_path_factory.mktemp("locked")
    with docker_registry(directory, users={USER: PASSWORD}) as registry:
        credentials = Credentials(str(directory / "config.json"))
        credentials.store(registry.host, Credential(USER, PASSWORD))
        with Registry(RegistrySettings(), credentials) as client:
            push_image(client.repository(f"{registry.host}/team/web"), "1", b"layer")
        yield registry


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of a user who never logged in anywhere, on a machine without settings."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def tiffin(tmp_path: Path) -> Tiffin:
    return Tiffin(tmp_path / "engine")


def log_in(tiffin: Tiffin, host: str, user: str = USER, password: str = PASSWORD) -> str:
    return tiffin.ok("login", "-u", user, "--password-stdin", host, input=password + "\n")


# ---- in


def test_a_login_is_kept_once_the_registry_believes_it(
    locked: RunningRegistry, config: Path, tiffin: Tiffin
) -> None:
    done = tiffin(
        "login", "-u", USER, "--password-stdin", f"http://{locked.host}/v2/", input=PASSWORD + "\r\n"
    )
    assert (done.returncode, done.stdout) == (0, "Login Succeeded\n")
    assert f"WARNING! Your credentials are stored unencrypted in '{config}'." in done.stderr
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert json.loads(config.read_text()) == {"auths": {locked.host: {"auth": auth}}}
    assert PASSWORD not in done.stdout + done.stderr


def written(path: Path) -> tuple[int, int, int]:
    """What tells whether the file was written again; that it was read may be seen in its stat, too."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def test_a_login_that_is_kept_is_used_again(locked: RunningRegistry, config: Path, tiffin: Tiffin) -> None:
    log_in(tiffin, locked.host)
    before = written(config)
    done = tiffin("login", locked.host)
    assert (done.returncode, done.stdout) == (0, "Login Succeeded\n")
    assert done.stderr == f"Authenticating with existing credentials... [Username: {USER}]\n"
    assert written(config) == before


def test_a_login_that_went_stale_is_said_so(locked: RunningRegistry, config: Path, tiffin: Tiffin) -> None:
    Credentials().store(locked.host, Credential(USER, "hunter1"))
    done = tiffin("login", locked.host)
    assert done.returncode == 1
    first, second, third = done.stderr.splitlines()
    assert first.startswith("Authenticating with existing credentials...")
    assert second.startswith("Login did not succeed, error: ")
    assert "Error: Cannot perform an interactive login from a non TTY device" in third
    assert "hunter1" not in done.stderr


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_t18_a_wrong_password_is_kept_nowhere_and_shown_nowhere(
    locked: RunningRegistry, config: Path, tiffin: Tiffin, debug: list[str]
) -> None:
    words = [*tiffin.argv()[:3], *debug, *tiffin.argv()[3:]]
    done = subprocess.run(
        [*words, "login", "-u", USER, "--password-stdin", locked.host],
        input="wrong-hunter2",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "incorrect username or password" in done.stderr
    shown = done.stdout + done.stderr
    assert "wrong-hunter2" not in shown
    assert base64.b64encode(f"{USER}:wrong-hunter2".encode()).decode() not in shown
    assert not config.exists()


def test_a_registry_that_gives_tokens_is_logged_in_to(config: Path, tiffin: Tiffin, tmp_path: Path) -> None:
    with (
        token_server(tmp_path, {USER: "secret"}) as tokens,
        docker_registry(tmp_path, tokens=tokens) as registry,
    ):
        error = tiffin.fails("login", "-u", USER, "--password-stdin", registry.host, input="wrong")
        assert "incorrect username or password" in error
        assert not config.exists()
        log_in(tiffin, registry.host, password="secret")
        assert Credentials().get(registry.host) == Credential(USER, "secret")


def test_an_own_authority_is_trusted_and_nothing_else_is(
    config: Path, tiffin: Tiffin, tmp_path: Path
) -> None:
    tls = make_tls(tmp_path)
    with docker_registry(tmp_path, users={USER: "secret"}, tls=tls) as registry:
        place = tmp_path / "settings" / "tiffin"
        place.mkdir(parents=True)
        (place / "config.toml").write_text(f'[registries]\ncerts-dirs = ["{tmp_path}/certs.d"]\n')
        certificates = tmp_path / "certs.d" / registry.host
        certificates.mkdir(parents=True)
        (certificates / "ca.crt").write_text(Path(make_tls(tmp_path).authority).read_text())
        error = tiffin.fails("login", "-u", USER, "--password-stdin", registry.host, input="secret")
        assert "certificate" in error
        (certificates / "ca.crt").write_text(Path(tls.authority).read_text())
        log_in(tiffin, registry.host, password="secret")
        (certificates / "lonely.key").write_text("")
        done = tiffin("login", registry.host)
        assert done.returncode == 1
        assert "tiffin: missing client certificate lonely.cert for key lonely.key in" in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Error: Cannot perform an interactive login from a non TTY device"),
        (["-u", "me"], "Error: Cannot perform an interactive login from a non TTY device"),
        (["--password-stdin"], "the --password-stdin option requires --username to be set"),
        (
            ["-u", "me", "-p", "x", "--password-stdin"],
            "conflicting options: cannot specify both --password and --password-stdin",
        ),
        (["-u", "me", "--password-stdin"], "standard input holds no password"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error(
    config: Path, tiffin: Tiffin, words: list[str], text: str
) -> None:
    assert text in tiffin.fails("login", *words, "registry.invalid")
    assert not config.exists()


def test_a_password_on_the_command_line_is_warned_of(
    locked: RunningRegistry, config: Path, tiffin: Tiffin
) -> None:
    done = tiffin("login", "-u", USER, "-p", PASSWORD, locked.host)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
    )
    assert PASSWORD not in done.stderr


def test_a_user_name_that_basic_authentication_cannot_carry_is_refused(config: Path, tiffin: Tiffin) -> None:
    error = tiffin.fails("login", "-u", "a:b", "--password-stdin", "registry.invalid", input="x")
    assert "a user name has no colon" in error


def test_a_malformed_server_or_file_is_named(config: Path, tiffin: Tiffin) -> None:
    assert "invalid registry '..'" in tiffin.fails("login", "-u", "me", "--password-stdin", "../x", input="x")
    config.parent.mkdir()
    config.write_text("{")
    assert f"{config} is not valid JSON" in tiffin.fails("login", "registry.invalid")
    assert f"{config} is not valid JSON" in tiffin.fails("logout", "registry.invalid")


# ---- at a terminal


def at_a_terminal(argv: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run on a terminal of its own, answering each prompt as it appears; exit code and all that was shown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
    )
    os.close(slave)
    shown, deadline, left = "", time.monotonic() + 60, list(answers)
    try:
        while True:
            assert select.select([master], [], [], max(deadline - time.monotonic(), 0))[0], shown
            try:
                data = os.read(master, 4096)
            except OSError:  # EIO: everybody closed the other end
                break
            shown += data.decode()
            if left and shown.rstrip(" ").endswith(left[0][0]):
                os.write(master, left.pop(0)[1].encode())
        return process.wait(10), shown
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_terminal_is_asked_and_never_shows_the_password(
    locked: RunningRegistry, config: Path, tiffin: Tiffin
) -> None:
    argv = tiffin.argv("login", locked.host)
    code, shown = at_a_terminal(argv, [("Username:", f"{USER}\n"), ("Password:", f"{PASSWORD}\n")])
    assert code == 0, shown
    assert "Login Succeeded" in shown
    assert PASSWORD not in shown
    Credentials().store(locked.host, Credential(USER, "stale"))
    code, shown = at_a_terminal(argv, [(f"Username ({USER}):", "\n"), ("Password:", f"{PASSWORD}\n")])
    assert code == 0, shown
    assert "Login did not succeed" in shown
    assert Credentials().get(locked.host) == Credential(USER, PASSWORD)


def test_a_terminal_that_answers_nothing_is_told_what_was_wanted(config: Path, tiffin: Tiffin) -> None:
    argv = tiffin.argv("login", "registry.invalid")
    assert "Error: Non-null Username Required" in at_a_terminal(argv, [("Username:", "\n")])[1]
    code, shown = at_a_terminal(argv, [("Username:", "me\n"), ("Password:", "\n")])
    assert (code, "Error: Password Required" in shown) == (1, True)
    assert "login was given up" in at_a_terminal(argv, [("Username:", "\x04")])[1]


# ---- out


def test_a_logout_forgets_and_says_when_there_was_nothing(config: Path, tiffin: Tiffin) -> None:
    Credentials().store("registry.example:5000", Credential("me", "x"))
    Credentials().store("docker.io", Credential("me", "x"))
    name = "registry.example:5000"
    assert tiffin.ok("logout", f"https://{name}/v2/") == f"Removing login credentials for {name}"
    assert tiffin.ok("logout", name) == f"Not logged in to {name}"
    assert tiffin.ok("logout") == "Removing login credentials for https://index.docker.io/v1/"
    assert tiffin.ok("logout", "docker.io") == "Not logged in to https://index.docker.io/v1/"
    assert json.loads(config.read_text()) == {"auths": {}}


# ---- with other tools


@pytest.mark.peer
def test_other_tools_use_what_tiffin_keeps(locked: RunningRegistry, config: Path, tiffin: Tiffin) -> None:
    skopeo, podman, docker = need("skopeo"), need("podman"), need("docker")
    image = f"{locked.host}/team/web:1"
    denied = subprocess.run(
        [docker, "manifest", "inspect", "--insecure", image], capture_output=True, text=True
    )
    assert denied.returncode != 0
    log_in(tiffin, locked.host)
    tags = run(
        skopeo, "list-tags", "--tls-verify=false", f"--authfile={config}", f"docker://{locked.host}/team/web"
    )
    assert json.loads(tags)["Tags"] == ["1"]
    assert run(podman, "login", "--get-login", f"--authfile={config}", locked.host).strip() == USER
    assert json.loads(run(docker, "manifest", "inspect", "--insecure", image))["schemaVersion"] == 2


@pytest.mark.peer
def test_tiffin_uses_what_other_tools_keep(locked: RunningRegistry, config: Path, tiffin: Tiffin) -> None:
    words = ["login", "-u", USER, "--password-stdin"]
    for tool, options in {
        "docker": [],
        "skopeo": ["--tls-verify=false", f"--authfile={config}"],
        "podman": ["--tls-verify=false", f"--authfile={config}"],
    }.items():
        config.parent.mkdir(exist_ok=True)
        config.unlink(missing_ok=True)
        run(need(tool), *words, *options, locked.host, input=PASSWORD)
        assert Credentials().get(locked.host) == Credential(USER, PASSWORD), tool
        assert tiffin.ok("login", locked.host) == "Login Succeeded"
        assert tiffin.ok("logout", locked.host).startswith("Removing login credentials")
        assert json.loads(config.read_text()).get("auths") == {}


@pytest.mark.peer
def test_a_credential_helper_is_shared_with_docker(
    locked: RunningRegistry, config: Path, tiffin: Tiffin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = install(tmp_path / "bin", "test", monkeypatch)
    docker = need("docker")
    config.parent.mkdir()
    config.write_text('{"credsStore": "test"}')
    done = tiffin("login", "-u", USER, "--password-stdin", locked.host, input=PASSWORD)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Login Succeeded\n", "")
    assert PASSWORD not in config.read_text()
    run(docker, "manifest", "inspect", "--insecure", f"{locked.host}/team/web:1")
    run(docker, "logout", locked.host)
    assert helper.kept() == {}
    run(docker, "login", "-u", USER, "--password-stdin", locked.host, input=PASSWORD)
    assert helper.kept()[locked.host]["Secret"] == PASSWORD
    assert tiffin.ok("login", locked.host) == "Login Succeeded"
    assert tiffin.ok("logout", locked.host).startswith("Removing login credentials")
    assert helper.kept() == {}


# ---- search


class _Search(BaseHTTPRequestHandler):
    """Docker Hub's answer to a search."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        results = [
            {"name": "web", "description": "x" * 60 + "\n\x1b[31m", "star_count": 12, "is_official": True},
            {"name": "you/web", "description": "two\nlines", "star_count": 3, "is_automated": True},
        ]
        found = [result for result in results if query.get("q", [""])[0] in str(result["name"])]
        data = json.dumps({"results": found}).encode()
        self.send_response(200 if parts.path == "/v1/search" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def searched() -> Iterator[str]:
    """HOST:PORT of a registry that answers searches."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Search) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_search_is_dockers_table(config: Path, tiffin: Tiffin, searched: str) -> None:
    heading, first, second = tiffin.ok("search", f"{searched}/web").splitlines()
    assert heading.split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert first.split() == ["web", "x" * 44 + "…", "12", "[OK]"]
    assert second.split() == ["you/web", "two", "lines", "3"]
    whole = tiffin.ok("search", "--no-trunc", f"{searched}/web")
    assert "x" * 60 + " \\x1b[31m" in whole


def test_a_search_is_filtered_bounded_and_formatted(config: Path, tiffin: Tiffin, searched: str) -> None:
    def names(*words: str) -> list[str]:
        return tiffin.ok("search", "--format", "{{.Name}}", *words, f"{searched}/web").split()

    assert names() == ["web", "you/web"]
    assert names("--limit", "1") == ["web"]
    assert names("--filter", "stars=4") == ["web"]
    assert names("-f", "is-official=false", "-f", "is-automated=true") == ["you/web"]
    assert tiffin.ok("search", "--format", "{{.StarCount}}{{.IsOfficial}}", f"{searched}/web") == "12[OK]\n3"
    first = json.loads(tiffin.ok("search", "--format", "json", "--limit", "1", f"{searched}/web"))
    assert (first["IsOfficial"], first["IsAutomated"], first["StarCount"]) == ("true", "false", "12")
    assert "bad format of filter 'stars'" in tiffin.fails("search", "-f", "stars", f"{searched}/web")
    assert "invalid filter 'colour=red'" in tiffin.fails("search", "-f", "colour=red", f"{searched}/web")
    assert "limit 101 is outside the range" in tiffin.fails("search", "--limit", "101", f"{searched}/web")
    assert "leave out the scheme" in tiffin.fails("search", f"http://{searched}/web")


def test_a_registry_without_a_search_is_asked_for_its_list(
    locked: RunningRegistry, config: Path, tiffin: Tiffin
) -> None:
    log_in(tiffin, locked.host)
    assert tiffin.ok("search", "--format", "{{.Name}}", f"{locked.host}/we") == "team/web"
    assert tiffin.ok("search", "--format", "{{.Name}}", f"{locked.host}/absent") == ""
