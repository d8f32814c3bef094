"""A real credential helper for tests: a program on a $PATH of the test's own that keeps its secrets in a JSON file."""

import json
import os
import sys
from pathlib import Path

import pytest

_PROGRAM = """\
#!{python}
import json, os, sys
store = {store!r}
kept = json.load(open(store)) if os.path.exists(store) else {{}}
verb, words = sys.argv[1], sys.stdin.read()
with open(store + ".log", "a") as log:
    log.write(verb + "\\n")
if verb == "store":
    entry = json.loads(words)
    kept[entry["ServerURL"]] = entry
elif verb == "list":
    print(json.dumps({{server: entry["Username"] for server, entry in kept.items()}}))
elif words.strip() not in kept:
    print("credentials not found in native keychain")
    sys.exit(1)
elif verb == "get":
    print(json.dumps(kept[words.strip()]))
elif verb == "erase":
    del kept[words.strip()]
json.dump(kept, open(store, "w"))
"""


class HelperProgram:
    """`docker-credential-NAME` on the path."""

    def __init__(self, directory: Path, name: str) -> None:
        self.program = directory / f"docker-credential-{name}"
        self.store = directory / f"{name}.json"

    def write(self, text: str) -> None:
        self.program.write_text(text)
        self.program.chmod(0o755)

    def kept(self) -> dict[str, dict[str, str]]:
        """Server → what was stored."""
        return dict(json.loads(self.store.read_text())) if self.store.exists() else {}

    def calls(self) -> list[str]:
        """The verbs that it was asked, in order."""
        log = self.store.with_suffix(".json.log")
        return log.read_text().split() if log.exists() else []


def install(directory: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> HelperProgram:
    """A working helper, found before all others."""
    directory.mkdir(exist_ok=True)
    helper = HelperProgram(directory, name)
    helper.write(_PROGRAM.format(python=sys.executable, store=str(helper.store)))
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return helper
