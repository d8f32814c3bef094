"""docs/registries.md does what it says, against a registry with TLS and passwords."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import tiffin as package
from tests.command import Tiffin
from tests.integration.registry.test_client import push_image
from tests.registries import docker_registry, make_tls
from tiffin.config import RegistrySettings, load_settings
from tiffin.oci.reference import parse_reference
from tiffin.registry.client import Registry
from tiffin.registry.credentials import Credential, Credentials
from tiffin.registry.endpoints import endpoints_of

PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "registries.md"
STAND_IN = "registry.example:5000"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.registry
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    shutil.copy(tls.authority, tmp_path / "ca.crt")
    (tmp_path / "password.txt").write_text("secret\n")
    (tmp_path / "config.toml").write_text(f'[registries]\ncerts-dirs = ["{tmp_path}/etc/tiffin/certs.d"]\n')
    with docker_registry(tmp_path, users={"alice": "secret"}, tls=tls) as registry:
        credentials = Credentials(str(tmp_path / "pushing.json"))
        credentials.store(registry.host, Credential("alice", "secret"))
        with Registry(RegistrySettings(), credentials) as client:
            push_image(client.repository(f"{registry.host}/team/web"), "1", b"layer")
        text = "\n".join(blocks("sh")).replace(STAND_IN, registry.host)
        text = text.replace("/etc/tiffin", f"{tmp_path}/etc/tiffin")
        tiffin = shlex.join(Tiffin(tmp_path / "engine").argv())
        done = subprocess.run(
            ["bash", "-c", f'set -e\ntiffin() {{ {tiffin} "$@"; }}\n{text}'],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(package.__file__).parent.parent),
                "DOCKER_CONFIG": str(tmp_path / "docker"),
                "TIFFIN_CONFIG": str(tmp_path / "config.toml"),
            },
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Login Succeeded") == 3
    assert done.stdout.count("Removing login credentials") == 1
    assert done.stdout.count("team/web") == 2


def test_the_pages_names_mean_what_it_says() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)`", PAGE.read_text(), re.MULTILINE)
    names = [(short, full) for short, full in rows if full.endswith((":latest", ":2"))]
    assert len(names) == 4
    for short, full in names:
        assert str(parse_reference(short)) == full


def test_the_pages_settings_are_settings(tmp_path: Path) -> None:
    examples = blocks("toml")
    assert len(examples) == 2
    for example in examples:
        assert tomllib.loads(example)
        (tmp_path / "config.toml").write_text(example)
        settings = load_settings({"TIFFIN_CONFIG": str(tmp_path / "config.toml")}).registries
        assert endpoints_of("docker.io", settings._replace(certs_dirs=()))
