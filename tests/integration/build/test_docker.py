"""The same Dockerfiles built by Docker's classic builder: the same config, and the same files."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.building import Bench, busybox_tar
from tests.integration.peers import Docker, docker

pytestmark = [pytest.mark.root, pytest.mark.peer]
__all__ = ["docker"]

SETTINGS = [
    "ENV A=1 B='two words'\nENV A=$B C=\"x$A\"\nENV old style value",
    'LABEL a=b "c d"="e f"\nLABEL a=$PATH',
    "EXPOSE 80 53/udp 8000-8002/tcp\nEXPOSE 80/tcp",
    'VOLUME /a\nVOLUME ["/b", "/c d"]\nVOLUME /e /f',
    "USER app:staff\nWORKDIR /tmp\nWORKDIR ../etc\nWORKDIR $HOME",
    'CMD ["a", "b"]\nENTRYPOINT ["c"]',
    "ENTRYPOINT c d\nCMD e",
    'SHELL ["/bin/ash", "-ec"]\nCMD x y\nENTRYPOINT z',
    "STOPSIGNAL SIGUSR1\nSTOPSIGNAL 9",
    "HEALTHCHECK --interval=5s --timeout=1m30s --start-period=2s --retries=3 CMD wget x",
    'HEALTHCHECK CMD ["a", "b"]',
    "HEALTHCHECK NONE",
    "MAINTAINER somebody",
    "ONBUILD RUN  a\nONBUILD COPY . /x",
    "ARG X=1\nARG Y\nENV Z=${X:-a}${Y:-b}${Z:+c}",
    "CMD []",
    'ENV A="a b"\'c \\$d\' B=a\\ b C=\\$A D="\\$A \\x \\"q\\"" E=x=y F=\n'
    'ENV G=$A$B H=${A}_ I="${N:-$C}" J=${F:-e} K=${F:+e}l',
    'ENV X=x \\\n    # a comment\n    Y=y\\\n1\nLABEL a="b \\\n  c" d=\'e"f\' \\\n  g=$X$Y',
    'ARG P=80\nENV D=/d E="a b"\nEXPOSE $P ${P}1/udp\nVOLUME $D/x\n'
    'VOLUME ["$D/y"]\nUSER ${U:-u}:g\nSTOPSIGNAL ${S:-SIGHUP}',
    'SHELL ["/bin/ash", "-c"]\nCMD [ "a" , "\\u0041\\n" ]\nENTRYPOINT [\'a\', "b"]',
]
MEMBERS = (
    "Env",
    "Cmd",
    "Entrypoint",
    "Labels",
    "ExposedPorts",
    "Volumes",
    "User",
    "WorkingDir",
    "StopSignal",
    "Healthcheck",
    "OnBuild",
    "Shell",
)


def build_by_docker(docker: Docker, bench: Bench, text: str) -> dict[str, Any]:
    base = bench.context.parent / "base.tar"
    base.write_bytes(busybox_tar())
    docker("import", str(base), "base")
    docker("build", "-t", "theirs", "-f", "-", str(bench.context), input=text.encode())
    found: dict[str, Any] = json.loads(docker("inspect", "theirs"))[0]
    return found


def said(config: dict[str, Any]) -> dict[str, Any]:
    """The members that say something: Docker writes null and empty ones too."""
    found = {name: config[name] for name in MEMBERS if config.get(name)}
    # An image that was imported has no PATH; today's Docker and tiffin give it Docker's default one.
    env = [pair for pair in found.pop("Env", []) if not pair.startswith("PATH=")]
    return {**found, "Env": env}


@pytest.mark.parametrize("text", SETTINGS)
def test_the_config_is_dockers(based: Bench, docker: Docker, text: str) -> None:
    theirs = build_by_docker(
        docker, based, f"FROM base\n{text.replace('$PATH', 'path').replace('$HOME', '/w')}"
    )
    based.build(f"FROM base\n{text.replace('$PATH', 'path').replace('$HOME', '/w')}")
    assert said(based.settings()) == said(theirs["Config"])
    assert based.document().get("author", "") == theirs["Author"]


FILES = """\
FROM base AS one
COPY --chown=5:6 d /d
FROM base
COPY f d /many/
COPY d /new
COPY --chown=77 f /named/by
COPY --chown=app:staff d /chowned
COPY f /lib/
COPY f /lib/new/name
COPY d/* /globbed/
COPY . /all
COPY --from=one /d /tmp
ADD f /added/
WORKDIR /w/x
COPY f rel
COPY ["f", "spaced out/"]
"""


def files_of(top: Path) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        what: Any = ""
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = (hash(path.read_bytes()), status.st_mtime_ns)
        mode = 0 if path.is_symlink() else stat.S_IMODE(status.st_mode)
        kind = stat.S_IFMT(status.st_mode)
        found[str(path.relative_to(top))] = (kind, mode, status.st_uid, status.st_gid, what)
    return found


def test_the_files_are_dockers(based: Bench, docker: Docker, tmp_path: Path) -> None:
    based.write("f", "f\n", 0o640)
    based.write("d/sub/x", "x\n")
    based.write("d/run", "#!/bin/sh\n", 0o755)
    based.write("d/left.out", "never")
    based.write(".dockerignore", "**/*.out\nd/sub/y\n")
    (based.context / "d" / "link").symlink_to("sub/x")
    (based.context / "d" / "sub").chmod(0o750)
    for path in (*based.context.rglob("*"), based.context):
        os.chown(path, 1000, 1000, follow_symlinks=False)
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    build_by_docker(docker, based, FILES)
    archive = tmp_path / "theirs.tar"
    docker("save", "-o", str(archive), "theirs")
    with archive.open("rb") as stream:
        based.images.load(stream)
    based.build(FILES)
    with based.tree("theirs") as theirs, based.tree() as ours:
        mine, others = files_of(ours), files_of(theirs)
        # Docker's client adds a line to it for the Dockerfile that comes from stdin.
        del mine["all/.dockerignore"], others["all/.dockerignore"]
        assert sorted(mine) == sorted(others)
        assert {name: (mine[name], others[name]) for name in mine if mine[name] != others[name]} == {}
