"""What a build made, read from a docker-archive, and the differences of two such results.

Compared are: every layer, in order, with all that its tar has (whiteouts too): kind, mode, owner, time, link target,
device numbers, extended attributes, bytes, and which names are one file; all of the config that says something; the
history, with the text of each entry and which of them are empty layers.
"""

from __future__ import annotations

import hashlib
import json
import tarfile  # noqa: TID251 - reads what was written, as other programs do
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.build.compared.case import CLASSIC

NOW = "now"
Layer = dict[str, dict[str, Any]]


class Built(NamedTuple):
    config: dict[str, Any]
    layers: list[Layer]
    history: list[dict[str, Any]]


class Archive:
    """Images of one archive by their names. What is younger than `begun` (seconds) has the time "now"."""

    def __init__(self, path: Path, begun: float) -> None:
        self._begun = begun
        self._layers: dict[str, Layer] = {}
        self._tar = tarfile.open(path)  # noqa: SIM115 - closed by close()
        self.images: dict[str, dict[str, Any]] = {
            name.removeprefix("docker.io/library/"): entry
            for entry in self._json("manifest.json")
            for name in entry["RepoTags"] or ()
        }

    def close(self) -> None:
        self._tar.close()

    def _json(self, name: str) -> Any:
        data = self._tar.extractfile(name)
        assert data is not None, name
        return json.loads(data.read())

    def image(self, name: str) -> Built:
        entry = self.images[name]
        document = self._json(entry["Config"])
        diff_ids = document["rootfs"].get("diff_ids") or []
        layers = [self._layer(*pair) for pair in zip(diff_ids, entry["Layers"] or [], strict=True)]
        return without_empty_layers(Built(_said(document), layers, document["history"]))

    def _layer(self, diff_id: str, name: str) -> Layer:
        if diff_id not in self._layers:
            data = self._tar.extractfile(name)
            assert data is not None, name
            with tarfile.open(fileobj=data, mode="r:*") as layer:
                self._layers[diff_id] = _entries(layer, self._begun)
        return self._layers[diff_id]


def without_empty_layers(built: Built) -> Built:
    """BuildKit leaves layers that hold nothing out of the images that it writes by itself (it knows them by their
    digest), and so does tiffin; those of the builders in Docker's daemon are kept."""
    layers = iter(built.layers)
    history = [
        entry if entry.get("empty_layer") or next(layers) else {**entry, "empty_layer": True}
        for entry in built.history
    ]
    return Built(built.config, [layer for layer in built.layers if layer], history)


def _said(document: dict[str, Any]) -> dict[str, Any]:
    """The config's members that say something: Docker writes null and empty ones too, and some that only the container
    of a build had."""
    found = {f"config.{key}": value for key, value in (document.get("config") or {}).items() if value}
    found.pop("config.Image", None)  # the classic builder's parent
    found.pop("config.ArgsEscaped", None)  # set by CMD; the image spec has new builders leave it out
    found |= {key: document[key] for key in ("architecture", "os", "variant", "author") if document.get(key)}
    return found


def _entries(layer: tarfile.TarFile, begun: float) -> Layer:
    found: Layer = {}
    groups: dict[str, list[str]] = {}
    for member in layer:
        name = member.name.strip("/").removeprefix("./")
        if member.islnk():
            groups.setdefault(member.linkname.strip("/"), []).append(name)
            continue
        if name.rpartition("/")[2].startswith(".wh."):
            found[name] = {"kind": "whiteout"}  # nobody reads its metadata
            continue
        found[name] = _entry(layer, member, begun)
    for first, others in groups.items():
        one = {**found[first], "one with": sorted([first, *others])}
        found.update(dict.fromkeys([first, *others], one))
    return found


def _entry(layer: tarfile.TarFile, member: tarfile.TarInfo, begun: float) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": {b"0": "file", b"5": "directory", b"2": "link", b"6": "fifo", b"3": "char", b"4": "block"}[
            member.type.replace(b"\0", b"0")
        ],
        "owner": f"{member.uid}:{member.gid}",
        "time": NOW if member.mtime >= begun else int(member.mtime),
    }
    if member.issym():
        entry["link"] = member.linkname
    else:
        entry["mode"] = f"{member.mode & 0o7777:04o}"
    if member.isdev() and not member.isfifo():
        entry["device"] = (member.devmajor, member.devminor)
    if member.isreg():
        data = layer.extractfile(member)
        assert data is not None
        entry["size"], entry["data"] = member.size, hashlib.sha256(data.read()).hexdigest()
    xattrs = {
        key.removeprefix("SCHILY.xattr."): value
        for key, value in member.pax_headers.items()
        if key.startswith("SCHILY.xattr.")
    }
    return {**entry, "xattrs": xattrs} if xattrs else entry


def differences(ours: Built, theirs: Built, builder: str) -> dict[str, tuple[Any, Any]]:
    """What differs, by a name for it: (ours, theirs)."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*ours.config, *theirs.config}):
        _tell(found, key, ours.config.get(key), theirs.config.get(key))
    _tell(found, "layers", len(ours.layers), len(theirs.layers))
    for number, (mine, other) in enumerate(zip(ours.layers, theirs.layers, strict=False)):
        for name in sorted({*mine, *other}):
            one, another = mine.get(name), other.get(name)
            if one and another and another["kind"] == "directory" and another["time"] == NOW:
                # Docker leaves a directory with the time at which something was put into it
                one = {**one, "time": NOW}
            _tell(found, f"{number}:{name}", one, another)
    if builder == CLASSIC:  # it words history otherwise
        _tell(found, "history", *([_is_empty(each) for each in built.history] for built in (ours, theirs)))
        return found
    words = [[_words(each) for each in built.history] for built in (ours, theirs)]
    _tell(found, "history", len(words[0]), len(words[1]))
    for mine, other in zip(*words, strict=False):
        _tell(found, f"history: {other[0].partition(' ')[0]}", mine, other)
    return found


def _is_empty(entry: dict[str, Any]) -> bool:
    return bool(entry.get("empty_layer"))


def _words(entry: dict[str, Any]) -> tuple[str, str, bool]:
    """BuildKit signs its entries, tiffin claims to be nobody else."""
    text = entry.get("created_by", "").removesuffix(" # buildkit")
    return text, entry.get("author", ""), _is_empty(entry)


def _tell(found: dict[str, tuple[Any, Any]], key: str, mine: Any, other: Any) -> None:
    if mine != other:
        if isinstance(mine, dict) and isinstance(other, dict):  # only what differs of them
            keys = sorted(key for key in {*mine, *other} if mine.get(key) != other.get(key))
            mine, other = ({key: each.get(key) for key in keys} for each in (mine, other))
        found[key] = mine, other


def unexplained(found: dict[str, tuple[Any, Any]], reasons: Mapping[str, str]) -> dict[str, Any]:
    """Differences without a reason, and reasons (patterns of names) without a difference."""
    left: dict[str, Any] = {
        key: value
        for key, value in found.items()
        if not any(fnmatchcase(key, pattern) for pattern in reasons)
    }
    idle = [pattern for pattern in reasons if not any(fnmatchcase(key, pattern) for key in found)]
    return {**left, **dict.fromkeys(idle, "no difference any more: remove the reason")}
