"""--explain-cache: why a step ran, by what is different from the build before.

Each build that runs anything writes down what its steps were made with, in one bounded document of the engine's cache
directory for each Dockerfile, target and platform. No value of a variable is in it, and of files only digests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping

from tiffin.build.copying.sources import Picked
from tiffin.build.epoch import NO_EPOCH, VARIABLE
from tiffin.build.planning.graph import (
    BaseWork,
    CopyWork,
    DirectoryWork,
    FetchWork,
    Outcome,
    Plan,
    RunWork,
    SettingsWork,
    Step,
)
from tiffin.errors import TiffinError
from tiffin.oci.digest import sha256
from tiffin.registry.redact import redact
from tiffin.typed import Any, NamedTuple

_VERSION = 2
_DOCUMENT_MAX = 4 << 20
_DOCUMENTS_MAX = 200
_FILES_MAX = 1000  # of one step, by name; of more only that some changed
_TOLD_MAX = 10  # files of one step
_TEXT_MAX = 200
_IMAGE = "the image"

Files = Callable[[str, Picked], dict[str, str]]


class Circumstances(NamedTuple):
    """What of a build is not in its plan: whether it was to use no cache, the names of its build arguments, how to
    learn the digests of files, (context, what was picked) → path → digest, and the time that everything is given."""

    no_cache: bool
    build_args: frozenset[str]
    files: Files
    epoch: int = NO_EPOCH


class Explainer:
    """Compares one plan with what `before` says of the build before it; `done` grows as steps are done."""

    def __init__(
        self, plan: Plan, done: Mapping[int, Outcome], before: Mapping[str, Any], how: Circumstances
    ) -> None:
        self._plan = plan
        self._done = done
        self._how = how
        self._before = before
        self._by_text: dict[str, list[str]] = {}
        for place, entry in before.items():
            self._by_text.setdefault(entry["text"], []).append(place)
        self._places = _places(plan)
        self._ran: set[int] = set()

    def ran(self, step: Step, *, reasons: bool) -> tuple[str, ...]:
        """Note that the step ran. The `reasons`, if they are wanted: at least one. Its parent and sources are done."""
        self._ran.add(step.number)
        return self._reasons(step) if reasons else ()

    def _reasons(self, step: Step) -> tuple[str, ...]:
        if self._how.no_cache:
            return ("--no-cache was given",)
        if step.fresh:
            return ("--no-cache-filter names its stage",)
        if isinstance(step.work, FetchWork):
            return ("what an address leads to is asked for in every build",)
        if not self._before:
            return ("no build of this Dockerfile is recorded here",)
        place = self._match(step)
        if place is None:
            return ("the instruction is new",)
        entry, now = self._before[place], self._entry(step)
        if entry["text"] != now["text"]:
            return (f"the instruction changed; it was: {entry['text']}",)
        reasons = self._inputs_changed(entry["inputs"], now["inputs"])
        reasons += self._files_changed(entry["files"], now["files"])
        reasons += self._below_changed(step)
        outcome = self._done.get(step.number)
        if not reasons and outcome is not None and outcome.key != entry["key"]:
            reasons = ["the files that it takes changed"]
        return tuple(reasons) or ("nothing changed, but its result is not in the cache any more",)

    def record(self) -> dict[str, Any]:
        """What is to be remembered of this build: an entry for each step that is done."""
        return {
            self._places[step.number]: self._entry(step)
            for step in self._plan.steps
            if step.number in self._done
        }

    def _match(self, step: Step) -> str | None:
        """The place of what this step was before: here, or else where alone the same text stood."""
        place, text = self._places[step.number], _text(step)
        entry = self._before.get(place)
        if entry is not None and entry["text"] == text:
            return place
        elsewhere = self._by_text.get(text, [])
        if len(elsewhere) == 1:
            return elsewhere[0]
        return place if entry is not None else None

    def _inputs_changed(self, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
        found = []
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                what = name
                if name.startswith("variable "):
                    variable = name.partition(" ")[2]
                    what = f"build argument {variable}" if variable in self._how.build_args else name
                state = "is new" if name not in before else "is gone" if name not in now else "changed"
                found.append(f"{what} {state}")
        return found

    def _files_changed(self, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
        found = []
        for path in sorted(before.keys() | now.keys()):
            old, new = before.get(path), now.get(path)
            if old == new:
                continue
            shown = f"file {path}"
            if old is None or new is None:
                found.append(f"{shown} is {'new' if old is None else 'gone'}")
                continue
            (old_digest, _, old_mode), (new_digest, _, new_mode) = old.partition(" "), new.partition(" ")
            if old_digest != new_digest:
                found.append(f"{shown} changed: {old_digest} to {new_digest}")
            else:
                found.append(f"the mode of {shown} changed: {old_mode} to {new_mode}")
        if len(found) > _TOLD_MAX:
            found[_TOLD_MAX:] = [f"{len(found) - _TOLD_MAX} more files changed"]
        return found

    def _below_changed(self, step: Step) -> list[str]:
        """What of the steps that this one builds on, or takes from, is not what it was."""
        found = []
        linked = isinstance(step.work, CopyWork) and step.work.link
        for needed in (step.parent, *step.sources):
            number = self._files_of(needed)
            if number < 0 or (needed == step.parent and linked) or number not in self._done:
                continue
            other = self._plan.steps[number]
            place = self._match(other)
            entry = self._before[place] if place is not None else None
            if entry is not None and entry["key"] == self._done[number].key:
                continue
            if isinstance(other.work, BaseWork):
                if entry is not None and entry["inputs"].get(_IMAGE) == self._inputs(other)[_IMAGE]:
                    continue  # it is what else counts for every step
                found.append(f"the base image changed: {_text(other)}")
            elif entry is None or entry["text"] != _text(other):
                was = f"; it was: {entry['text']}" if entry is not None else ""
                found.append(f"{_relation(step, needed)} is new: {_text(other)}{was}")
            elif number in self._ran:
                found.append(f"{_relation(step, needed)} ran: {_text(other)}")
            else:
                found.append(f"{_relation(step, needed)} is another: {_text(other)}")
        return found

    def _files_of(self, number: int) -> int:
        """The step that a step's files are of: one that changes the config alone has those before it."""
        while number >= 0 and isinstance(self._plan.steps[number].work, SettingsWork):
            number = self._plan.steps[number].parent
        return number

    def _entry(self, step: Step) -> dict[str, Any]:
        outcome = self._done.get(step.number)
        key = outcome.key if outcome is not None else ""
        return {"key": key, "text": _text(step), "inputs": self._inputs(step), "files": self._files(step)}

    def _inputs(self, step: Step) -> dict[str, str]:
        epoch = {} if self._how.epoch == NO_EPOCH else {VARIABLE: str(self._how.epoch)}
        return {**epoch, **_inputs(step)}

    def _files(self, step: Step) -> dict[str, str]:
        """path → "digest mode" of what is taken of contexts."""
        work = step.work
        picked: list[tuple[str, Picked]] = []
        if isinstance(work, CopyWork):
            picked = [(work.context, each) for each in work.picked]
        elif isinstance(work, RunWork):
            picked = [(mount.context, each) for mount in work.mounts for each in mount.picked]
        if not 0 < sum(len(each.nodes) for _, each in picked) <= _FILES_MAX:
            return {}
        found: dict[str, str] = {}
        for context, each in picked:
            try:
                digests = self._how.files(context, each)
            except (OSError, TiffinError):  # they changed meanwhile: the build goes by what it saw
                return {}
            for node in each.nodes:
                path = "/".join(part for part in (each.base, node.path) if part)
                name = f"{context}:{path}" if context else path
                what = digests.get(node.path) or (node.link if node.is_link else "")
                if node.path or not node.is_directory:
                    found[name] = f"{what[:12] if node.is_file else _short(what)} {node.mode & 0o7777:04o}"
        return found


def _relation(step: Step, number: int) -> str:
    return "the step before it" if number == step.parent else "the step that it takes files from"


def _text(step: Step) -> str:
    """An instruction as the Dockerfile has it, without its number."""
    _, bracket, title = step.title.rpartition("] ") if step.title.startswith("[") else ("", "", "")
    text = " ".join(redact(title if bracket else step.title or step.written or step.created_by).split())
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}..."


def _short(value: str) -> str:
    return sha256(value.encode("utf-8", "surrogateescape"))[:12]


def _inputs(step: Step) -> dict[str, str]:
    """All that counts besides files and other steps: names, and digests of values."""
    work = step.work
    if isinstance(work, BaseWork):
        layers = [layer.diff_id for layer in work.layers]
        return {_IMAGE: _short(json.dumps([layers, work.document], sort_keys=True))}
    if isinstance(work, RunWork):
        found = {
            f"variable {name}": _short(value) for name, _, value in (pair.partition("=") for pair in work.env)
        }
        found["the command"] = _short("\0".join(work.argv))
        found |= {"the user": work.user, "the working directory": work.cwd, "the network": work.network}
        around = work.around
        said = {"--add-host": around.hosts, "--shm-size": around.shm_size, "--ulimit": around.ulimits}
        found |= {name: _short(str(value)) for name, value in said.items() if value}
        if work.script is not None:
            found["the here-document"] = _short(work.script[1])
        for mount in work.mounts:
            options = [str(each) for each in mount._replace(picked=(), at=-1)]
            found[f"the mount at {mount.target or mount.id}"] = _short("\0".join(options))
        return found
    if isinstance(work, CopyWork):
        options = [
            work.dest,
            work.chown,
            work.chmod,
            repr(work.unpack),
            repr(work.exclude),
            repr(work.parents),
        ]
        found = {"the options of the instruction": _short("\0".join([*options, *work.sources]))}
        for name, text in work.files:
            found[f"the here-document {name}"] = _short(text)
        return found
    if isinstance(work, DirectoryWork):
        return {"the directory": work.path, "its owner": work.user}
    if isinstance(work, SettingsWork):
        return {"the settings": _short(json.dumps(work.after, sort_keys=True) + work.author)}
    return {}


def _places(plan: Plan) -> dict[int, str]:
    """Where each step is, by what stays when its text changes: its stage and number, or how far it is from one with
    these."""
    found: dict[int, str] = {}
    for step in plan.steps:
        head, slash, _ = step.title.partition("/")
        if step.title.startswith("[") and slash:
            found[step.number] = head
        elif step.parent >= 0:
            found[step.number] = f"{found[step.parent]}+"
        else:
            found[step.number] = f"{step.keyword} {step.created_by}"[:_TEXT_MAX]
    return found


class Memory:
    """The document of one Dockerfile, target and platform."""

    def __init__(self, directory: str, *identity: str) -> None:
        name = sha256("\0".join(identity).encode("utf-8", "surrogateescape"))[:32]
        self._path = f"{directory}/steps-{name}.json"

    def read(self) -> dict[str, Any]:
        """The entries of the build before, by place; {} when there are none."""
        try:
            with open(self._path, "rb") as file:
                document = json.loads(file.read(_DOCUMENT_MAX))
        except (OSError, ValueError):
            return {}
        steps: Any = document.get("steps") if isinstance(document, dict) else None
        good = isinstance(steps, dict) and document.get("version") == _VERSION
        return steps if good and all(map(_is_entry, steps.values())) else {}

    def write(self, steps: dict[str, Any]) -> None:
        """Never fails: it is only there to be told about."""
        text = json.dumps({"version": _VERSION, "steps": steps}, separators=(",", ":"))
        if len(text) > _DOCUMENT_MAX:
            slim = {place: {**entry, "files": {}} for place, entry in steps.items()}
            text = json.dumps({"version": _VERSION, "steps": slim}, separators=(",", ":"))
        aside = f"{self._path}.{os.getpid()}"
        try:
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="ascii") as file:
                file.write(text)
            os.rename(aside, self._path)
            self._drop_old()
        except OSError:
            pass

    def _drop_old(self) -> None:
        """Of the Dockerfiles not built for longest."""
        directory = os.path.dirname(self._path)
        with os.scandir(directory) as entries:
            found = sorted(
                (entry.stat().st_mtime_ns, entry.name) for entry in entries if entry.name.startswith("steps-")
            )
        for _, name in found[:-_DOCUMENTS_MAX]:
            os.unlink(f"{directory}/{name}")


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("key"), str)
        and isinstance(entry.get("text"), str)
        and all(
            isinstance(entry.get(part), dict)
            and all(isinstance(value, str) for value in entry[part].values())
            for part in ("inputs", "files")
        )
    )
