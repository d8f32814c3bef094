"""T22: what a RUN may do beyond a container's rights is a closed list, and denied unless it is granted by name."""

from typing import Any

import pytest

from tests.building import Bench
from tiffin.build.contexts import lending
from tiffin.build.planning.commands import plan_run
from tiffin.build.planning.config import scratch_config
from tiffin.build.planning.graph import Given, RunWork
from tiffin.build.planning.transfers import Desk, Origin
from tiffin.dockerfile.command import Command
from tiffin.dockerfile.instructions import Run
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import DockerfileError, InvalidArgument, PermissionDenied
from tiffin.oci.platform import host_platform
from tiffin.runtime.defaults import DEFAULT_CAPABILITIES


def planned(allow: tuple[str, ...] = (), **flags: Any) -> RunWork:
    """RUN with `flags`, also such as no parser lets through."""

    def nothing(_: object) -> Any:
        raise AssertionError("nothing is looked for")

    run = Run(line=2, end_line=2, source="RUN x", command=Command(("x",), False), **flags)
    given = Given({}, {}, "", "bridge", host_platform(), lending.granted(allow))
    return plan_run(run, scratch_config(), {}, given, Desk(lambda _: Origin(), nothing, nothing))[0]


@pytest.mark.parametrize("word", ["99", "INSECURE", "insecure2", "sandbox,insecure", "privileged"])
def test_an_unknown_security_mode_is_refused_whatever_is_granted(word: str) -> None:
    with pytest.raises(InvalidArgument):
        planned(("security.insecure",), security=word)
    with pytest.raises(DockerfileError):
        parse_dockerfile(f"FROM a\nRUN --security={word} x".encode())


@pytest.mark.parametrize("word", ["99", "HOST", "container:1", "ns:/proc/1/ns/net", "bridge"])
def test_an_unknown_network_is_refused_whatever_is_granted(word: str) -> None:
    with pytest.raises(InvalidArgument):
        planned(("network.host",), network=word)
    with pytest.raises(DockerfileError):
        parse_dockerfile(f"FROM a\nRUN --network={word} x".encode())


@pytest.mark.parametrize("flag", ["security", "network"])
def test_a_right_is_not_given_by_the_grant_of_another(flag: str) -> None:
    word, other = {"security": ("insecure", "network.host"), "network": ("host", "security.insecure")}[flag]
    with pytest.raises(PermissionDenied):
        planned((), **{flag: word})
    with pytest.raises(PermissionDenied):
        planned((other,), **{flag: word})


@pytest.mark.parametrize(
    "word", ["", "all", "ALL", "security", "security.insecure,network.host", "device", "*"]
)
def test_a_grant_that_there_is_not_is_refused(word: str) -> None:
    with pytest.raises(InvalidArgument, match=r"use network\.host or security\.insecure"):
        lending.granted((word,))


def test_a_step_without_a_grant_has_a_containers_rights_and_no_more() -> None:
    from tiffin.build.running.run import _spec

    spec = _spec(planned(), (), ())
    assert spec["process"]["capabilities"]["bounding"] == list(DEFAULT_CAPABILITIES)
    assert spec["linux"]["maskedPaths"]
    assert "seccomp" in spec["linux"]
    assert {each["type"] for each in spec["linux"]["namespaces"]} >= {"network", "pid", "ipc", "mount"}


@pytest.mark.root
def test_onbuild_of_a_base_image_gains_no_right(based: Bench) -> None:
    based.build("FROM base\nONBUILD RUN --security=insecure mount -t tmpfs x /tmp", tags=("trap",))
    with pytest.raises(DockerfileError, match="not allowed"):
        based.build("FROM trap")
