"""The settings file: what it means, what it refuses, and that its page says all of it."""

import re
import tomllib
from pathlib import Path

import pytest

from tiffin.config import (
    ContainerSettings,
    ImageSettings,
    NetworkSettings,
    RegistrySettings,
    Settings,
    VolumeSettings,
    detach_keys,
    load_settings,
)
from tiffin.errors import InvalidArgument, PermissionDenied

PAGE = Path(__file__).parent.parent.parent / "docs" / "configuration.md"
SECTIONS: dict[
    str, RegistrySettings | ImageSettings | ContainerSettings | VolumeSettings | NetworkSettings
] = {
    "registries": RegistrySettings(),
    "images": ImageSettings(),
    "containers": ContainerSettings(),
    "volumes": VolumeSettings(),
    "network": NetworkSettings(),
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One file alone, at $TIFFIN_CONFIG."""
    return {"TIFFIN_CONFIG": str(tmp_path / "config.toml")}


def load(environment: dict[str, str], text: str) -> Settings:
    Path(environment["TIFFIN_CONFIG"]).write_text(text)
    return load_settings(environment)


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert load_settings({"XDG_CONFIG_HOME": str(tmp_path)}) == Settings()
    assert load_settings({"HOME": str(tmp_path)}) == Settings()
    (tmp_path / ".config").write_text("a file where a directory is wanted")
    assert load_settings({"HOME": str(tmp_path)}) == Settings()


def test_a_file_that_is_named_must_exist(environment: dict[str, str]) -> None:
    with pytest.raises(
        InvalidArgument, match=r"^no settings file .*/config\.toml, which \$TIFFIN_CONFIG names$"
    ):
        load_settings(environment)


def test_the_process_environment_is_the_default(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIFFIN_CONFIG", environment["TIFFIN_CONFIG"])
    Path(environment["TIFFIN_CONFIG"]).write_text("[registries]\ndownloads = 7\n")
    assert load_settings().registries.downloads == 7
    assert load_settings() == load_settings(environment)


def test_every_option_can_be_set(environment: dict[str, str]) -> None:
    text = """
        [registries]
        insecure = ["a:1", "10.0.0.0/8"]
        certs-dirs = ["/c"]
        downloads = 1
        uploads = 2
        stall_timeout = 3
        [registries.mirrors]
        "docker.io" = ["https://m"]
        [images]
        keep-compressed = false
        [containers]
        detach-keys = "ctrl-x,x"
        [volumes]
        plugin-sockets = ["/s"]
        plugin-specs = []
        plugin-timeout = 5
        [network]
        default-address = "127.0.0.1"
    """
    assert load(environment, text) == Settings(
        RegistrySettings({"docker.io": ("https://m",)}, ("a:1", "10.0.0.0/8"), ("/c",), 1, 2, 3),
        ImageSettings(keep_compressed=False),
        ContainerSettings("ctrl-x,x"),
        VolumeSettings(("/s",), (), 5),
        NetworkSettings("127.0.0.1"),
        (environment["TIFFIN_CONFIG"],),
    )


def test_a_users_option_replaces_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiffin import config

    machine, own = tmp_path / "machine.toml", tmp_path / "own.toml"
    monkeypatch.setattr(config, "_files", lambda _: ((str(machine), str(own)), False))
    machine.write_text('[registries]\ndownloads = 9\nuploads = 9\ninsecure = ["a"]\n')
    own.write_text('[registries]\nuploads = 2\ninsecure = ["b"]\n[images]\nkeep-compressed = false\n')
    found = load_settings()
    assert found.registries == RegistrySettings(insecure=("b",), downloads=9, uploads=2)
    assert not found.images.keep_compressed
    assert found.sources == (str(machine), str(own))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "[registry]\n",
            "unknown section [registry]; there are registries, images, containers, volumes, network",
        ),
        (
            "downloads = 3\n",
            "unknown section [downloads]; there are registries, images, containers, volumes, network",
        ),
        ("[registries]\nmirors = {}\n", "unknown key 'mirors' in [registries]; did you mean 'mirrors'?"),
        ("[images]\nxyzzy = 1\n", "unknown key 'xyzzy' in [images]"),
        ("[registries]\ndownloads = 0\n", "registries.downloads must be a whole number above 0"),
        ("[registries]\ndownloads = true\n", "registries.downloads must be a whole number above 0"),
        ("[registries]\nstall-timeout = 1.5\n", "registries.stall-timeout must be a whole number above 0"),
        ("[registries]\ninsecure = 'a'\n", "registries.insecure must be a list of strings"),
        ("[registries]\ninsecure = [1]\n", "registries.insecure must be a list of strings"),
        ("[registries]\nmirrors = []\n", "registries.mirrors must be a table of lists"),
        (
            "[registries]\nmirrors = {'docker.io' = 'x'}\n",
            "registries.mirrors.docker.io must be a list of strings",
        ),
        ("[containers]\ndetach-keys = 1\n", "containers.detach-keys must be a string"),
        ("[images]\nkeep-compressed = 1\n", "images.keep-compressed must be true or false"),
    ],
)
def test_a_slip_names_the_file_the_option_and_what_is_wanted(
    environment: dict[str, str], text: str, what: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        load(environment, text)
    assert str(refused.value) == f"{environment['TIFFIN_CONFIG']}: {what}"


@pytest.mark.parametrize("data", [b"[registries\n", b"\xff\xfe", b"a = 1\na = 2\n", b"[" * 5000])
def test_what_is_not_toml_is_refused_in_one_line(environment: dict[str, str], data: bytes) -> None:
    Path(environment["TIFFIN_CONFIG"]).write_bytes(data)
    with pytest.raises(InvalidArgument, match=r"config\.toml is not valid TOML") as refused:
        load_settings(environment)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_a_settings_file_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="larger than 1 MiB"):
        load(environment, "#" * (2 << 20))
    path = Path(environment["TIFFIN_CONFIG"])
    path.unlink()
    path.mkdir()
    with pytest.raises(PermissionDenied, match=r"cannot read the settings file .*: Is a directory"):
        load_settings(environment)


@pytest.mark.parametrize(
    ("ours", "dockers", "keys"),
    [
        ("", "{}", "ctrl-p,ctrl-q"),
        ("", '{"detachKeys": "ctrl-e,e"}', "ctrl-e,e"),
        ("[containers]\ndetach-keys = 'ctrl-x'\n", '{"detachKeys": "ctrl-e,e"}', "ctrl-x"),
        ("[containers]\ndetach-keys = ''\n", '{"detachKeys": "ctrl-e,e"}', "ctrl-e,e"),
        ("", '{"detachKeys": 1}', "ctrl-p,ctrl-q"),
        ("", "[" * 100_000, "ctrl-p,ctrl-q"),
        ("", "[]", "ctrl-p,ctrl-q"),
    ],
)
def test_detach_keys_come_from_the_settings_then_from_docker(
    environment: dict[str, str], tmp_path: Path, ours: str, dockers: str, keys: str
) -> None:
    Path(environment["TIFFIN_CONFIG"]).write_text(ours)
    (tmp_path / "config.json").write_text(dockers)
    assert detach_keys({**environment, "DOCKER_CONFIG": str(tmp_path)}) == keys
    assert detach_keys({"HOME": str(tmp_path / "nobody")}) == "ctrl-p,ctrl-q"


# ---- the page


def _documented() -> dict[str, dict[str, str]]:
    """Section → option → default, as the tables of the page have them."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:].strip("[]") if line.startswith("## [") else ""
        row = re.match(r"\| `([a-z0-9-]+)` \| `(.*?)` \| .{20,} \|$", line)
        if section and row:
            found.setdefault(section, {})[row[1]] = row[2]
    return found


def test_the_page_lists_exactly_the_options_that_exist_with_their_defaults() -> None:
    documented = _documented()
    assert list(documented) == list(SECTIONS)
    assert set(documented) == set(Settings._fields) - {"sources"}
    for section, options in documented.items():
        assert [name.replace("-", "_") for name in options] == list(SECTIONS[section]._fields)
        for name, default in options.items():
            value = tomllib.loads(f"v = {default}")["v"]
            want = getattr(SECTIONS[section], name.replace("-", "_"))
            assert (tuple(value) if isinstance(want, tuple) else value) == want


def test_the_pages_example_is_a_settings_file(environment: dict[str, str]) -> None:
    from tiffin.registry.endpoints import endpoints_of

    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    settings = load(environment, example)
    assert not settings.images.keep_compressed
    assert len(endpoints_of("docker.io", settings.registries)) == 3
