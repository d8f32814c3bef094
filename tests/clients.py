"""How this machine's package clients reach their registries, as secrets for a build: proxies, mirrors, certificates.

The examples take them as `--mount=type=secret`, so that they are in no layer and do without where there are none.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_PIP = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")
_NOT_INSIDE = re.compile(r"\s*(cafile|cache|prefix|nodedir|globalconfig|userconfig)\b")


def options(directory: Path) -> list[str]:
    """Options for `tiffin build` (and `docker build`); `directory` takes the files that they name."""
    names = {"apt": "apt.conf", "pip": "pip.conf", "npm": "npmrc"}
    write(directory, **names)
    files = {client: directory / name for client, name in names.items()}
    if CERTIFICATES.exists():
        files["ca"] = CERTIFICATES
    made = [f"--build-arg={name}" for name in _PROXIES if name in os.environ]
    return [*made, *(f"--secret=id={name},src={file}" for name, file in files.items())]


def write(directory: Path, **names: str) -> None:
    """The settings of each client into the file of that name in `directory`."""
    settings = {"apt": _apt, "pip": _pip, "npm": _npm}
    for client, name in names.items():
        (directory / name).write_text(settings[client]())


def skip_unless_reached(directory: Path) -> None:
    """Skip the test whose build failed if a client cannot fetch something here either; the failure stays otherwise."""
    asks = {
        "Debian's packages": ["apt-get", "download", "-qq", "hostname"],
        "PyPI": [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-cache-dir",
            "docopt==0.6.2",
        ],
        "the npm registry": ["npm", "view", "--prefer-online", "express@4.21.2", "name"],
    }
    for registry, command in asks.items():
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip(f"{registry} cannot be reached from here: {done.stderr.strip()[-300:]}")


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    ).stdout


def _apt() -> str:
    """Proxies, and whether an archive may be of another day."""
    lines = _said("apt-config", "dump").splitlines()
    return "".join(f"{line}\n" for line in lines if re.match(r"Acquire::(\S*[Pp]roxy|Check-)", line))


def _pip() -> str:
    found = re.findall(
        r"^\S+?\.([a-z-]+)='(.*)'$", _said(sys.executable, "-m", "pip", "config", "list"), re.MULTILINE
    )
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in found if key in _PIP)


def _npm() -> str:
    """The lines of the machine's and the user's npmrc that name no file of this machine."""
    files = [_said("npm", "config", "get", which).strip() for which in ("globalconfig", "userconfig")]
    texts = [Path(file).read_text() for file in (*files, "/etc/npmrc") if file and Path(file).is_file()]
    registries = [value for name, value in os.environ.items() if name.lower() == "npm_config_registry"]
    lines = [line for line in "\n".join(texts).splitlines() if not _NOT_INSIDE.match(line)]
    return "\n".join([*lines, *(f"registry={registry}" for registry in registries)]) + "\n"
