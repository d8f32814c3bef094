"""Whether an image for another architecture runs here: what binfmt_misc says, in the kernel's own form."""

from pathlib import Path

import pytest

from tiffin.errors import Unsupported
from tiffin.oci.platform import Platform, host_platform
from tiffin.runtime.emulation import check, handlers

ARM64 = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: {flags}
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
S390X = """enabled
interpreter /usr/bin/qemu-s390x-static
flags: OCF
offset 0
magic 7f454c4602020100000000000000000000020016
mask ffffffffffffff00fffffffffffffffffffeffff
"""


@pytest.fixture
def binfmt(tmp_path: Path) -> Path:
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").write_text("")
    (tmp_path / "python3.11").write_text(
        "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n"
    )
    (tmp_path / "wine").write_text("enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n")
    return tmp_path


def nowhere(_: str) -> bool:
    return False


def allowed(binfmt: Path, architecture: str = "s390x", *, asked: bool = True) -> tuple[str, ...]:
    return check(Platform("linux", architecture), nowhere, asked=asked, directory=str(binfmt))


pytestmark = pytest.mark.skipif(
    host_platform().architecture != "amd64", reason="speaks of amd64 as this machine"
)


def test_without_an_emulator_an_image_for_another_machine_is_refused_with_the_remedy(binfmt: Path) -> None:
    with pytest.raises(
        Unsupported, match=r"linux/s390x on this linux/amd64 machine: exec format error; install .*qemu"
    ):
        allowed(binfmt)


def test_without_binfmt_misc_there_is_no_handler(tmp_path: Path) -> None:
    assert handlers(str(tmp_path / "absent")) == []
    with pytest.raises(Unsupported):
        allowed(tmp_path)


def test_a_registered_emulator_runs_its_architecture_alone(binfmt: Path) -> None:
    (binfmt / "qemu-s390x").write_text(S390X)
    assert allowed(binfmt) == ()
    with pytest.raises(Unsupported):
        allowed(binfmt, "arm64")
    (binfmt / "anything").write_text(ARM64.format(flags="POCF"))
    assert allowed(binfmt, "arm64") == ()


def test_who_did_not_ask_for_the_platform_is_warned_in_dockers_words(binfmt: Path) -> None:
    (binfmt / "qemu-s390x").write_text(S390X)
    (line,) = allowed(binfmt, asked=False)
    assert line == (
        "The requested image's platform (linux/s390x) does not match the detected host platform (linux/amd64) and no "
        "specific platform was requested"
    )


def test_an_emulator_without_the_flag_f_must_be_in_the_image(binfmt: Path) -> None:
    (binfmt / "qemu-aarch64").write_text(ARM64.format(flags="OC"))
    with pytest.raises(Unsupported, match="aarch64-binfmt-P is registered without the flag F"):
        allowed(binfmt, "arm64")
    there = {"/usr/libexec/qemu-binfmt/aarch64-binfmt-P"}
    platform = Platform("linux", "arm64")
    assert check(platform, lambda path: path in there, asked=True, directory=str(binfmt)) == ()


@pytest.mark.parametrize(
    "text", [S390X.replace("enabled", "disabled"), "", "enabled\n", "enabled\nmagic zz\n", "\0"]
)
def test_a_disabled_or_garbled_handler_is_none(binfmt: Path, text: str) -> None:
    (binfmt / "qemu-s390x").write_text(text)
    with pytest.raises(Unsupported):
        allowed(binfmt)


def test_when_all_of_binfmt_misc_is_off_no_handler_counts(binfmt: Path) -> None:
    (binfmt / "qemu-s390x").write_text(S390X)
    (binfmt / "status").write_text("disabled\n")
    with pytest.raises(Unsupported):
        allowed(binfmt)


def test_the_machines_own_images_and_32_bit_ones_need_none(binfmt: Path) -> None:
    assert allowed(binfmt, "amd64", asked=False) == ()
    assert allowed(binfmt, "", asked=False) == ()
    assert allowed(binfmt, "386") == ()
    assert len(allowed(binfmt, "386", asked=False)) == 1


def test_another_operating_system_is_refused(binfmt: Path) -> None:
    with pytest.raises(Unsupported, match='operating system "windows"'):
        check(Platform("windows", "amd64"), nowhere, asked=False, directory=str(binfmt))
