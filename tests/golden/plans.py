"""Dockerfiles beside the graph that a build makes of them: each directory of `plan/` but `context` is a case.

    Dockerfile      the input
    options.json    optional: build_args, labels, target, network, platform, allow
    expected.txt    the steps, the target's last one and its config; or error.txt, the refusal

All are planned in the context `plan/context` on the images of `IMAGES`, for linux/amd64 where the options say nothing.
`python -m tests.golden.update` writes the expectations of these too; read them before they are kept.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from tiffin.build.cache import Layer
from tiffin.build.copying.sources import SourceTree
from tiffin.build.planning.graph import BaseWork, Given, Plan, SettingsWork, Step, Surroundings
from tiffin.build.planning.plan import make_plan
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import NotFound, TiffinError
from tiffin.oci.platform import Platform, parse_platform

ROOT = pathlib.Path(__file__).parent / "plan"
CONTEXT = ROOT / "context"
PATH = "PATH=/usr/bin:/bin"
IMAGES: dict[str, dict[str, Any]] = {
    "alpine": {"Env": [PATH], "Cmd": ["/bin/sh"]},
    "golang": {"Env": [PATH, "GOPATH=/go"], "WorkingDir": "/go"},
    "app-base": {"Env": [PATH], "User": "app", "WorkingDir": "/app", "Entrypoint": ["run"], "Cmd": ["serve"]},
    "onbuild": {"Env": [PATH], "OnBuild": ["ARG VERSION=1", "COPY src /src", "RUN make VERSION=$VERSION"]},
    "bash": {"Env": [PATH], "Shell": ["/bin/bash", "-c"]},
}


class Inputs:
    """The images and files of every case; see tiffin.build.planning.plan.Inputs."""

    def __init__(self, tree: SourceTree, platform: Platform) -> None:
        self._tree, self._platform = tree, platform

    def named(self, name: str) -> str | None:
        return None

    def tree(self, context: str) -> SourceTree:
        return self._tree

    def base(self, name: str, platform: Platform | None) -> BaseWork:
        if name not in IMAGES:
            raise NotFound(f"No such image: {name}")
        document = {"os": "linux", "architecture": (platform or self._platform).architecture}
        layer = Layer(f"layer of {name}", f"blob of {name}", "", 1)
        return BaseWork((layer,), {**document, "config": IMAGES[name]})


def cases() -> list[pathlib.Path]:
    """Every case, by name."""
    return sorted(path for path in ROOT.iterdir() if (path / "Dockerfile").exists())


def _line(step: Step) -> str:
    """`3 on 2 from 1: CopyWork dest="/x"  COPY ...`."""
    on = f" on {step.parent}" if step.parent >= 0 else ""
    taken = f" from {', '.join(map(str, step.sources))}" if step.sources else ""
    shown = f"\n    {step.title}" if step.title else ""
    return f"{step.number}{on}{taken}: {_work(step.work)}\n    line {step.line}: {step.created_by!r}{shown}"


def _work(work: Any) -> str:
    """The kind of work and each of its fields that is not empty."""
    kind = type(work).__name__
    if isinstance(work, BaseWork):
        return f"{kind} {[layer.diff_id for layer in work.layers]}"
    if isinstance(work, SettingsWork):
        return kind
    fields = []
    for name, value in work._asdict().items():
        if value in ("", (), None, -1, 0, (False, False), Surroundings()) or (name, value) == (
            "sharing",
            "shared",
        ):
            continue
        if name == "picked":
            value = ["/".join(filter(None, (each.base, node.path))) for each in value for node in each.nodes]
        elif name == "mounts":
            value = [_work(mount) for mount in value]
        elif name == "platform":
            value = str(value)
        fields.append(f"{name}={value!r}")
    return " ".join([kind, *fields])


def _text(plan: Plan) -> str:
    lines = [_line(step) for step in plan.steps]
    lines += [f"ends with {plan.target}", f"config {json.dumps(plan.config, ensure_ascii=False)}"]
    lines += [f"author {plan.author}"] if plan.author else []
    return "\n".join([*lines, *(f"warning {text}" for text in plan.warnings)]) + "\n"


def outcome(case: pathlib.Path) -> tuple[str, str]:
    """The name of the file that the case's expectation is in, and its text."""
    path = case / "options.json"
    options = json.loads(path.read_text()) if path.exists() else {}
    given = Given(
        options.get("build_args", {}),
        options.get("labels", {}),
        options.get("target", ""),
        options.get("network", "bridge"),
        parse_platform(options.get("platform", "linux/amd64")),
        frozenset(options.get("allow", ())),
    )
    descriptor = os.open(CONTEXT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        dockerfile = parse_dockerfile((case / "Dockerfile").read_bytes())
        inputs = Inputs(SourceTree(descriptor, "the build context"), given.platform)
        return "expected.txt", _text(make_plan(dockerfile, given, inputs))
    except TiffinError as error:
        return "error.txt", f"{type(error).__name__}: {error}\n"
    finally:
        os.close(descriptor)
