"""FROM --platform and --platform: which image is meant, what the result says it is for, and what can run."""

import pytest

from tests.building import Bench
from tiffin.errors import DockerfileError, TiffinError
from tiffin.oci.platform import host_platform
from tiffin.runtime.emulation import handlers

pytestmark = pytest.mark.root
FOREIGN = "riscv64" if host_platform().architecture != "riscv64" else "s390x"


@pytest.fixture
def foreign(based: Bench) -> Bench:
    """An image `other` for a processor that this machine has not."""
    base = based.images.resolve("base")
    document = {**base.config, "architecture": FOREIGN}
    document.pop("variant", None)
    with based.store.adding():
        based.images.create(document, list(based.images.layers(base)), ["docker.io/library/other:latest"])
    return based


def test_a_stage_may_be_for_another_platform_and_the_result_says_so(foreign: Bench) -> None:
    foreign.write("f", "x")
    foreign.build(f"FROM --platform=linux/{FOREIGN} other\nCOPY f /f")
    assert foreign.document()["architecture"] == FOREIGN


def test_the_whole_build_may_be_for_another_platform(foreign: Bench) -> None:
    foreign.build(
        "FROM --platform=$BUILDPLATFORM base AS tools\nARG TARGETPLATFORM TARGETARCH BUILDARCH\n"
        "RUN echo $TARGETPLATFORM $TARGETARCH $BUILDARCH >/which\n"
        "FROM other\nCOPY --from=tools /which /which",
        platform=f"linux/{FOREIGN}",
    )
    assert foreign.document()["architecture"] == FOREIGN
    with foreign.tree() as top:
        said = (top / "which").read_text().split()
    assert said == [f"linux/{FOREIGN}", FOREIGN, host_platform().architecture]


def test_from_scratch_is_for_what_is_asked(foreign: Bench) -> None:
    foreign.write("f", "x")
    foreign.build("FROM scratch\nCOPY f /f", platform="linux/arm/v6")
    assert foreign.document()["architecture"] == "arm"
    assert foreign.document()["variant"] == "v6"


def test_an_image_that_is_not_for_the_platform_is_not_taken(foreign: Bench) -> None:
    with pytest.raises(DockerfileError, match="Dockerfile:1: FROM"):
        foreign.build(f"FROM --platform=linux/{FOREIGN} base")
    with pytest.raises(TiffinError, match="invalid platform"):
        foreign.build("FROM base", platform="a/b/c/d")


def test_a_command_for_a_processor_that_nothing_here_is_wants_an_emulator(foreign: Bench) -> None:
    if any(FOREIGN in handler.interpreter for handler in handlers()):
        pytest.skip("this machine has an emulator")
    with pytest.raises(TiffinError, match="install an emulator that registers with binfmt_misc"):
        foreign.build(f"FROM --platform=linux/{FOREIGN} other\nRUN true")
