"""The same Dockerfiles built by BuildKit (of 2022, as Debian's dockerd has it): the same files, seen and made.

It leaves the mount points that it made in the layer; tiffin takes them away again, so those are not compared.
"""

import os
from pathlib import Path

import pytest

from tests.building import Bench, busybox_tar
from tests.integration.build.test_docker import files_of
from tests.integration.peers import Docker, docker

pytestmark = [pytest.mark.root, pytest.mark.peer]
__all__ = ["docker"]

SHOW = "find /c /m /t /run/secrets -exec stat -c '%A %u %g %s %n' {} + 2>/dev/null | sort -k5 >/seen"
STAGE = (
    "FROM base AS made\nRUN mkdir -p /out/sub && echo made >/out/sub/f && chown -R 5:6 /out && chmod 2750 /out/sub "
    "&& ln -s sub/f /out/link && touch -d '2001-01-01 00:00:00' /out/sub/f\n"
)
CASES = {
    "cache": f"FROM base\nRUN --mount=type=cache,target=/c {SHOW}",
    "cache of somebody": f"FROM base\nRUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0711 {SHOW}",
    "cache used twice": "FROM base\nRUN --mount=type=cache,target=/c echo 1 >>/c/f\n"
    "RUN --mount=type=cache,target=/c echo 2 >>/c/f; cp /c/f /seen",
    "cache by id": "FROM base\nRUN --mount=type=cache,id=x,target=/c echo 1 >>/c/f\n"
    "RUN --mount=type=cache,id=x,target=/m cat /m/f >/seen\n"
    "RUN --mount=type=cache,id=y,target=/t ls /t >>/seen",
    "cache from a stage": f"{STAGE}FROM base\nRUN --mount=type=cache,target=/c,from=made,source=/out {SHOW}",
    "read-only cache": "FROM base\nRUN --mount=type=cache,target=/c,ro touch /c/x 2>/dev/null || echo refused >/seen",
    "bind of the context": f"FROM base\nRUN --mount=target=/m {SHOW}; touch /m/x 2>/dev/null || echo refused >>/seen",
    "bind below the context": f"FROM base\nRUN --mount=target=/m,source=d/sub {SHOW}",
    "bind of a file": "FROM base\nRUN --mount=target=/m,source=f cat /m >/seen",
    "writable bind": "FROM base\nRUN --mount=target=/m,rw touch /m/x && ls /m >/seen\n"
    "RUN --mount=target=/m ls /m >>/seen",
    "bind of a stage": f"{STAGE}FROM base\nRUN --mount=from=made,source=out,target=/m {SHOW}; cat /m/link >>/seen",
    "writable bind of a stage": f"{STAGE}FROM base\n"
    "RUN --mount=from=made,source=out,target=/m,rw rm -r /m/sub; ls /m >/seen\n"
    "RUN --mount=from=made,source=out,target=/m ls /m >>/seen",
    "bind of an image": "FROM base\nRUN --mount=from=base,source=/etc,target=/m cat /m/passwd >/seen",
    "one below another": "FROM base\nRUN --mount=type=cache,target=/m/d/sub --mount=target=/m touch /m/d/sub/new; "
    "ls /m/d /m/d/sub >/seen",
    "tmpfs": "FROM base\nRUN mkdir /t; touch -d '2001-01-01 00:00:00' /t/old\n"
    "RUN --mount=type=tmpfs,target=/t ls /t >/seen; touch /t/x",
    "secret": f"FROM base\nRUN --mount=type=secret,id=s {SHOW}; cat /run/secrets/s >>/seen",
    "secret elsewhere": "FROM base\n"
    f"RUN --mount=type=secret,id=s,target=/m,uid=5,gid=6,mode=0444 {SHOW}; cat /m >>/seen",
    "secret that is not given": "FROM base\nRUN --mount=type=secret,id=none ls /run/secrets >/seen 2>&1 || true; true",
    "relative target": "FROM base\nWORKDIR /t\nRUN --mount=target=m pwd >/seen; ls m >>/seen",
    "chmod": "FROM base\nCOPY --chmod=750 d/run d/sub/x /d/\nCOPY --chmod=0604 --chown=7:8 f /many/",
}


def build_by_buildkit(docker: Docker, bench: Bench, text: str, secret: Path) -> None:
    base = bench.context.parent / "base.tar"
    base.write_bytes(busybox_tar())
    docker("import", str(base), "base")
    docker.buildkit(
        *("--network=none", "--no-cache", "-t", "theirs", "-f", "-"),
        *("--secret", f"id=s,src={secret}", str(bench.context)),
        input=f"# syntax-is-built-in\nARG UNIQUE={os.urandom(4).hex()}\n{text}".encode(),
    )


@pytest.fixture
def filled(based: Bench) -> Bench:
    based.write("f", "f\n", 0o640)
    based.write("d/sub/x", "x\n")
    based.write("d/run", "#!/bin/sh\n", 0o755)
    based.write("left.out", "never")
    based.write(".dockerignore", "*.out\n.dockerignore\n")
    (based.context / "d" / "link").symlink_to("sub/x")
    (based.context / "d" / "sub").chmod(0o2750)
    for path in (*based.context.rglob("*"), based.context):
        os.chown(path, 1000, 1000, follow_symlinks=False)
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    return based


@pytest.mark.parametrize("case", CASES)
def test_the_files_are_buildkits(filled: Bench, docker: Docker, tmp_path: Path, case: str) -> None:
    text = CASES[case]
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    build_by_buildkit(docker, filled, text, secret)
    archive = tmp_path / "theirs.tar"
    docker("save", "-o", str(archive), "theirs")
    with archive.open("rb") as stream:
        filled.images.load(stream)
    # A cache of BuildKit's begins empty for each of these: so does ours, in a root of its own.
    filled.build(text, secrets=(f"id=s,src={secret}",))
    with filled.tree("theirs") as theirs, filled.tree() as ours:
        seen = [(top / "seen").read_text() if (top / "seen").exists() else "" for top in (ours, theirs)]
        mine, others = files_of(ours), files_of(theirs)
    assert seen[0] == seen[1]
    for found in (mine, others):
        found.pop("seen", None)
    extra = {name for name in others if name not in mine}
    assert extra <= MOUNT_POINTS
    assert {name: (mine[name], others.get(name)) for name in mine if mine[name] != others.get(name)} == {}


MOUNT_POINTS = {
    *("c", "m", "t", "t/m", "dev", "proc", "sys", "run", "run/secrets"),
    *("etc/hosts", "etc/resolv.conf"),
}
