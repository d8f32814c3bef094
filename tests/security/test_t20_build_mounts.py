"""T20: nothing that a --mount says, and nothing that a RUN does meanwhile, leads it to the host."""

import os
from pathlib import Path

import pytest

from tests.building import Bench
from tiffin.errors import DockerfileError

pytestmark = pytest.mark.root
SECRET = "the canary's secret"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    made = tmp_path / "canary"
    made.mkdir()
    (made / "secret").write_text(SECRET)
    return made


def listing(canary: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in canary.rglob("*")}


@pytest.mark.parametrize("kind", ["type=bind", "type=bind,from=made", "type=cache", "type=cache,from=made"])
@pytest.mark.parametrize("source", ["../../canary", "..", "sub/../../../canary"])
def test_a_source_does_not_climb(based: Bench, canary: Path, kind: str, source: str) -> None:
    based.write("sub/f", "x")
    with pytest.raises(DockerfileError, match="forbidden path"):
        based.build(
            f"FROM base AS made\nFROM base\nRUN --mount={kind},source={source},target=/m cat /m/secret"
        )
    assert SECRET not in based.log


@pytest.mark.parametrize("leads", ["absolute", "relative"])
def test_a_link_in_the_context_or_a_stage_ends_inside_it(based: Bench, canary: Path, leads: str) -> None:
    target = str(canary) if leads == "absolute" else "../canary"
    (based.context / "out").symlink_to(target)
    with pytest.raises(DockerfileError):
        based.build("FROM base\nRUN --mount=source=out,target=/m cat /m/secret")
    with pytest.raises(DockerfileError):
        based.build("FROM base\nRUN --mount=source=out/secret,target=/m cat /m")
    stage = f"FROM base AS made\nRUN ln -s {target} /out\nFROM base\n"
    for kind in ("from=made", "type=cache,from=made"):
        with pytest.raises(DockerfileError):
            based.build(f"{stage}RUN --mount={kind},source=/out,target=/m cat /m/secret")
    assert SECRET not in based.log


def test_a_variable_brings_no_further_option(based: Bench, canary: Path) -> None:
    """It is one value, commas and all."""
    based.build(
        "FROM base\nARG X\nRUN --mount=type=cache,id=$X,target=/m ls /m; touch /m/f",
        build_args={"X": f"a,type=bind,source={canary},readwrite"},
    )
    assert listing(canary) == {f"{canary}/secret": SECRET}
    with pytest.raises(DockerfileError):
        based.build(
            "FROM base\nARG X\nRUN --mount=type=tmpfs,target=/m,size=$X true",
            build_args={"X": "1m,mode=4777"},
        )


@pytest.mark.parametrize("target", ["/", "/../..", "/proc", "/proc/self", "/dev/../.."])
def test_no_mount_takes_the_place_of_what_confines_the_container(based: Bench, target: str) -> None:
    based.write("f", "x")
    with pytest.raises(DockerfileError):
        based.build(f"FROM base\nRUN --mount=target={target} true")


def test_a_target_that_is_a_link_stays_in_the_container(based: Bench, canary: Path) -> None:
    based.build(
        f"FROM base\nRUN ln -s {canary} /link\n"
        "RUN --mount=type=cache,target=/link touch /link/made\n"
        "RUN --mount=type=tmpfs,target=/link/deeper touch /link/deeper/made"
    )
    assert listing(canary) == {f"{canary}/secret": SECRET}


def test_steps_that_swap_what_another_mounts_gain_nothing(based: Bench, canary: Path) -> None:
    """One stage swaps `sub` of a shared cache for a link to the canary as fast as it can; steps of another mount it."""
    climbing = "../" * 12 + str(canary).lstrip("/")
    mount = "--mount=type=cache,id=c,target={0}"
    swapping = "while test ! -e /c/stop; do mv /c/sub /c/kept; ln -s {0} /c/sub; rm -f /c/sub; mv /c/kept /c/sub; done"
    text = [
        "FROM base AS swap",
        f"RUN {mount.format('/c')} mkdir -p /c/sub; touch /c/ready; {swapping.format(climbing)}",
        "FROM base AS use",
        f"RUN {mount.format('/c')} until test -e /c/ready; do sleep 0.02; done",
    ]
    for number in range(12):
        text.append(
            f"RUN {mount.format('/whole')} {mount.format('/m')} cat /m/sub/secret /whole/sub/secret; "
            f"echo {number}"
        )
    text += [
        f"RUN {mount.format('/c')} touch /c/stop",
        "FROM base",
        "COPY --from=use /etc/group /g",
        "COPY --from=swap /etc/group /h",
    ]
    based.build("\n".join(text), jobs=2)
    assert SECRET not in based.log
    assert listing(canary) == {f"{canary}/secret": SECRET}


def test_a_cache_mount_whose_directory_holds_links_is_opened_by_them_inside_alone(
    based: Bench, canary: Path
) -> None:
    climbing = "../" * 12 + str(canary).lstrip("/")
    based.build(
        f"FROM base\nRUN --mount=type=cache,id=c,target=/c ln -s {climbing} /c/rel; ln -s {canary} /c/abs"
    )
    for name in ("rel", "abs"):
        with pytest.raises(DockerfileError):
            based.build(f"FROM base\nRUN --mount=type=cache,id=c,source={name},target=/m cat /m/secret")
    assert SECRET not in based.log


def test_what_a_mount_made_outside_of_the_image_is_gone_afterwards(based: Bench) -> None:
    based.write("f", "x")
    based.build(
        "FROM base AS made\nFROM base\nRUN --mount=target=/a --mount=from=made,target=/b,rw "
        "--mount=type=cache,target=/c "
        "--mount=type=tmpfs,target=/d --mount=type=secret,id=s touch /b/x /c/x /d/x",
        secrets=(f"id=s,src={based.context}/f",),
    )
    assert based.layout.root not in Path("/proc/self/mountinfo").read_text()
    assert os.listdir(based.layout.staging) == []
