"""T24: URLs and repositories make nothing run here, read nothing here, and lead nowhere further inside."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.building import Bench
from tests.webserver import Answer, WebServer, Work
from tiffin.build.contexts import download, git
from tiffin.build.contexts.inputs import Lent
from tiffin.build.workers import Channel
from tiffin.errors import DockerfileError, InvalidArgument, LimitExceeded, TiffinError, TransferError

SECRET = "the canary's secret"


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


BAD = [
    "--upload-pack=touch {0}",
    "ext::sh -c touch% {0}",
    "file:///etc",
    "FILE:///etc",
    "fd::17",
    "ftp://host/a.git",
    "-oProxyCommand=touch {0}",
    "ssh://-oProxyCommand=touch%20{0}/a.git",
    "ssh://git@-oProxyCommand=touch%20{0}/a.git",
    "git@-oProxyCommand=x:a.git",
    "ssh://-x@host/a.git",
    "https://host/a.git#--upload-pack=touch {0}",
    "https://host/a.git#-x",
    "https://host/a.git#a..b",
    "https://host/a.git#a b",
    "https://host/a.git#HEAD~1",
    "https://host/a.git#+refs/heads/*",
    "https://host/a.git#main:../../etc",
    "https://host/a.git#main:a/../../etc",
    "https://ho\nst/a.git",
    "https://host:port/a.git",
    "https:///a.git",
    "bundle.git",
    "/etc/a.git",
    "../a.git",
]


@pytest.mark.parametrize("text", BAD)
def test_what_git_could_take_for_an_option_or_a_program_is_refused(text: str, marker: Path) -> None:
    with pytest.raises(InvalidArgument):
        git.parse(text.format(marker))
    assert not marker.exists()


@pytest.mark.parametrize("text", [bad for bad in BAD if "\n" not in bad and " " not in bad])
@pytest.mark.root
def test_the_same_in_a_dockerfile_reads_and_runs_nothing(based: Bench, text: str, marker: Path) -> None:
    with pytest.raises(TiffinError):
        based.build(f"FROM base\nADD {text.format(marker)} /x")
    assert not marker.exists()


def test_git_gets_nothing_of_the_environment_and_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GIT_SSH_COMMAND",
        "GIT_EXEC_PATH",
        "GIT_PROXY_COMMAND",
        "LD_PRELOAD",
        "SSH_AUTH_SOCK",
        "GIT_CONFIG",
    ):
        monkeypatch.setenv(name, "touch /marker")
    found = git._environment(git.parse("https://host/a.git"), Lent())
    assert "touch /marker" not in found.values()
    assert found["GIT_ALLOW_PROTOCOL"] == "https:http:ssh:git"


@pytest.mark.root
@pytest.mark.parametrize("url", ["ext::sh -c touch% MARKER", "file:///TOP", "/TOP", "../../../../../TOP"])
def test_a_submodule_leads_to_no_program_and_to_no_repository_of_this_machine(
    based: Bench, web: WebServer, work: Work, tmp_path: Path, url: str
) -> None:
    other = Work(tmp_path / "other", tmp_path / "other.git")
    other.commit({"secret": SECRET})
    marker = tmp_path / "ran"
    work.git("submodule", "add", "-q", str(other.bare), "sub")
    url = (
        url.replace("MARKER", str(marker))
        .replace("/TOP", str(other.bare))
        .replace("TOP", str(other.bare)[1:])
    )
    work.git("config", "-f", ".gitmodules", "submodule.sub.url", url)
    work.commit({"f": "1"})
    with pytest.raises(DockerfileError):
        based.build(f"FROM base\nADD {web.url}/git/project.git /src\nRUN cat /src/sub/secret")
    assert not marker.exists()
    assert SECRET not in based.log


def test_a_public_repository_has_no_submodule_on_this_machine_or_in_this_network() -> None:
    public = git.parse("https://93.184.216.34/a.git")
    for url in (
        "http://127.0.0.1/b.git",
        "https://10.0.0.1/b.git",
        "git@192.168.1.1:b.git",
        "http://localhost:8080/b.git",
    ):
        with pytest.raises(TransferError, match="further inside"):
            git._check_leads(public, git.parse(url))
    git._check_leads(public, git.parse("https://1.1.1.1/b.git"))


@pytest.mark.root
def test_hooks_filters_and_links_of_a_repository_do_nothing_here(
    based: Bench, web: WebServer, work: Work, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "canary").write_text(SECRET)
    script = f"#!/bin/sh\ntouch {marker}\n"
    work.directory.joinpath("out").symlink_to(tmp_path)
    work.commit(
        {
            "hooks/post-checkout": script,
            ".gitattributes": "* filter=evil diff=evil merge=evil\n",
            ".gitconfig": f'[core]\n\tfsmonitor = touch {marker}\n[filter "evil"]\n\tsmudge = touch {marker}\n',
            "f": "1",
        }
    )
    based.build(f"FROM base\nADD {web.url}/git/project.git /src\nRUN ! cat /src/out/canary")
    with pytest.raises(DockerfileError, match="no directory"):
        based.build(f"FROM base\nADD {web.url}/git/project.git#main:out /src\nRUN cat /src/canary")
    with pytest.raises(DockerfileError, match="no directory"):
        based.build(
            "FROM base\nCOPY --from=x canary /c", contexts={"x": f"{web.url}/git/project.git#main:out"}
        )
    assert not marker.exists()
    assert SECRET not in based.log


@pytest.mark.root
def test_a_bundle_is_not_asked_for(based: Bench, web: WebServer, work: Work) -> None:
    """A server may name a bundle to begin with; git would fetch and unpack it."""
    work.commit({"f": "1"})
    subprocess.run(["git", "config", "uploadpack.advertiseBundleURIs", "true"], cwd=work.bare, check=True)
    for name, value in (("version", "1"), ("mode", "all"), ("evil.uri", f"{web.url}/evil.bundle")):
        subprocess.run(["git", "config", f"bundle.{name}", value], cwd=work.bare, check=True)
    based.build(f"FROM base\nADD {web.url}/git/project.git /src")
    assert not any("evil" in asked.path for asked in web.asked)


ELSEWHERE = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/latest",
    "http://100.100.100.200/latest",
    "http://[::ffff:169.254.169.254]/",
    "gopher://127.0.0.1/x",
    "//169.254.169.254/",
]


@pytest.mark.root
@pytest.mark.parametrize("location", ELSEWHERE)
def test_add_is_not_led_to_a_file_or_to_where_clouds_give_away_their_keys(
    based: Bench, web: WebServer, location: str
) -> None:
    web.answer({"/f": Answer(status=302, headers={"Location": location})})
    with pytest.raises(DockerfileError):
        based.build(f"FROM base\nADD {web.url}/f /f\nRUN cat /f")
    assert len(web.asked) == 1
    assert "root:" not in based.log


@pytest.mark.root
@pytest.mark.parametrize("location", [each for each in ELSEWHERE if each.startswith("http:")])
def test_nor_is_git_nor_who_asks_directly(based: Bench, web: WebServer, location: str) -> None:
    web.answer({"/a.git/info/refs": Answer(status=301, headers={"Location": f"{location}x.git/info/refs"})})
    for source in (f"{web.url}/a.git", location, f"{location}x.git"):
        with pytest.raises(TiffinError):
            based.build(f"FROM base\nADD {source} /f")


@pytest.mark.root
def test_a_name_that_leads_to_loopback_from_a_public_host_is_refused() -> None:
    from tiffin.registry.origin import LOOPBACK, PRIVATE, PUBLIC, may_lead

    assert not may_lead({PUBLIC}, {LOOPBACK})
    assert not may_lead({PUBLIC}, {PRIVATE})
    assert not may_lead({PUBLIC}, {PUBLIC, LOOPBACK})


@pytest.mark.root
def test_a_download_has_a_bound_and_one_past_it_is_not_kept(
    based: Bench, web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(download, "DOWNLOAD_MAX", 1000)
    web.answer({"/f": Answer(b"x" * 2000)})
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        with pytest.raises(LimitExceeded, match="larger than"):
            download.download(based.layout, f"{web.url}/f", "", str(tmp_path), Channel(null))
    finally:
        os.close(null)
    assert os.listdir(f"{based.layout.cache}/downloads") == []


@pytest.mark.root
@pytest.mark.parametrize(
    "name", ["../../../../evil", "/evil", "..", ".", "", "a/b/../../..", "x" * 300, "a\0b"]
)
def test_the_name_that_a_server_gives_stays_a_name(
    based: Bench, web: WebServer, name: str, tmp_path: Path
) -> None:
    quoted = name.replace("\0", "%00")
    web.answer({"/dir/f": Answer(b"x", headers={"Content-Disposition": f'attachment; filename="{quoted}"'})})
    based.build(f"FROM scratch\nADD {web.url}/dir/f /out/")
    with based.tree() as top:
        (made,) = list((top / "out").iterdir())
        assert made.read_text() == "x"
        assert sorted(os.listdir(top)) == ["out"]
