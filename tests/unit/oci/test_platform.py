import pytest

from tiffin.errors import InvalidArgument
from tiffin.oci.platform import Platform, host_platform, parse_platform, preferences


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("aarch64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("Linux/ARM/v6", Platform("linux", "arm", "v6")),
    ],
)
def test_names_of_one_platform_are_one(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform
    assert parse_platform(str(platform)) == platform


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/amd 64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_platform(text)


def test_the_host_runs_its_own() -> None:
    host = host_platform()
    assert host.runs(host)
    assert not host.runs(Platform("linux", "s390x"))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3 linux/amd64/v2 linux/amd64"),
        ("linux/arm/v7", "linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        ("linux/arm", "linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        ("linux/arm/v6", "linux/arm/v6 linux/arm/v5"),
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9 linux/arm64"),
        ("linux/s390x", "linux/s390x"),
    ],
)
def test_a_machine_takes_the_lower_variants_of_its_architecture(wanted: str, found: str) -> None:
    assert [str(platform) for platform in preferences(parse_platform(wanted))] == found.split()


def test_who_names_no_platform_gets_the_32_bit_one_too() -> None:
    assert Platform("linux", "386") in preferences(Platform("linux", "amd64"), native=True)
    assert Platform("linux", "arm", "v7") in preferences(Platform("linux", "arm64"), native=True)
    assert Platform("linux", "386") not in preferences(Platform("linux", "amd64"))
