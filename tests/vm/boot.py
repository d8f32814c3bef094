"""Boot the guest under qemu's software emulation (virtual machines rarely offer KVM), and read its report."""

import os
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import NamedTuple

from tests.vm.cargo import cargo_disk
from tests.vm.machine import Machine, machine

MEMORY = "1G"
SECONDS = 600  # for everything in the guest: one minute, several on a busy machine


class Outcome(NamedTuple):
    """One test of the guest. `state`: passed, failed, error, skipped; `text`: pytest's, for all but passed."""

    name: str
    state: str
    text: str
    seconds: float


class Report(NamedTuple):
    outcomes: list[Outcome]
    console: str  # of the guest's kernel, and what pytest printed


def run_in_guest(directory: Path, arguments: list[str]) -> Report:
    """Boot, run pytest with `arguments` in the guest, end. `directory`: an empty one for what the run needs.
    RuntimeError with the console's end when the guest gave no report in time."""
    guest = machine()
    cargo = cargo_disk(directory, arguments)
    console, report = directory / "console", directory / "report"
    command = _qemu(guest, cargo, console, report)
    # qemu keeps what the guest writes to its disks in an unnamed file in TMPDIR.
    env = {**os.environ, "TMPDIR": str(directory)}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
    try:
        errors = process.communicate(timeout=SECONDS)[1]
    except subprocess.TimeoutExpired:
        errors = f"the guest did not end within {SECONDS} s"
    finally:
        process.kill()
        process.wait()
    said = console.read_text(errors="replace") if console.exists() else ""
    try:
        return Report(_read(report), said)
    except (OSError, xml.ParseError) as error:
        raise RuntimeError(
            f"no report from the guest: {errors} {error}; its console:\n{said[-6000:]}"
        ) from error


def _qemu(guest: Machine, cargo: Path, console: Path, report: Path) -> list[str]:
    # One controller with two namespaces: two controllers would be numbered in the order they answer.
    drives = []
    for number, path in enumerate((guest.disk, cargo), start=1):
        drives += ["-drive", f"if=none,id=disk{number},format=raw,snapshot=on,file={path}"]
        drives += ["-device", f"nvme-ns,drive=disk{number},bus=disks,nsid={number}"]
    kernel = "console=ttyS0 root=/dev/nvme0n1 rw init=/sbin/guest-init panic=-1 quiet mitigations=off"
    return [
        "/usr/bin/qemu-system-x86_64",
        *("-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", MEMORY),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(guest.kernel), "-append", kernel),
        *("-device", "nvme,id=disks,serial=disks"),
        *drives,
        *("-serial", f"file:{console}", "-serial", f"file:{report}"),
    ]


def _read(report: Path) -> list[Outcome]:
    """The test cases of a JUnit document, which is this harness's own."""
    return [_outcome(case) for case in xml.parse(report).iter("testcase")]


def _outcome(case: xml.Element) -> Outcome:
    state, text = "passed", ""
    for child in case:
        if child.tag in ("failure", "error", "skipped"):
            state = "failed" if child.tag == "failure" else child.tag
            text = f"{child.get('message')}\n{child.text or ''}"
    name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
    return Outcome(name, state, text, float(case.get("time", 0)))
