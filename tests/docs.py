"""Running what the documentation shows: every `sh` block of a page, in order, in one shell."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.command import Tiffin

DOCS = Path(__file__).parent.parent / "docs"


def run_page(
    page: str, tiffin: Tiffin, directory: Path, timeout: float = 120, replace: tuple[str, str] = ("", "")
) -> str:
    """Run the blocks of docs/`page` in `directory`, where `tiffin` is that engine; all their output. Each block may use
    what those before it made, and any failing command fails. `replace` puts a name of this machine in the place of one
    in the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks, f"docs/{page} shows no command"
    commands = "\n".join(blocks).replace(*replace)
    script = f'set -e\ntiffin() {{ {shlex.join(tiffin.argv())} "$@"; }}\n{commands}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=directory, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout
