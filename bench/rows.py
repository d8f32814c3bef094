"""What is measured. A row prepares each side once, then times one call of `work` at a time, sides in turn."""

import hashlib
import io
import json
import os
import random
import subprocess
import tarfile  # noqa: TID251 - writes the test archive; tiffin reads it
from collections.abc import Callable
from typing import NamedTuple

from bench.registry import registry_of
from bench.sides import BUSYBOX, Side, run


class Row(NamedTuple):
    """One line of the table. `sides` names who can do it; `target` is the ratio aimed at, per peer."""

    name: str
    target: dict[str, float]
    sides: tuple[str, ...]
    repeat: int
    prepare: Callable[[Side, str], None]
    work: Callable[[Side, str], None]
    before: Callable[[Side, str], None]  # untimed, before each repetition
    finish: Callable[[Side, str], None]


def _nothing(side: Side, work: str) -> None: ...


def _quiet(command: list[str], env: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)


def _call(*words: str) -> Callable[[Side, str], None]:
    def work(side: Side, _: str) -> None:
        _quiet(side.command(*words))

    return work


def _at_once(count: int) -> Callable[[Side, str], None]:
    def work(side: Side, _: str) -> None:
        started = [
            subprocess.Popen(
                side.command("run", "-d", "--name", f"many-{i}", BUSYBOX, "sleep", "1000"),
                stdout=subprocess.DEVNULL,
            )
            for i in range(count)
        ]
        for process in started:
            if process.wait():
                raise RuntimeError(f"{side.name}: run -d failed")

    return work


def _many(count: int) -> list[str]:
    return [f"many-{i}" for i in range(count)]


def _remove_many(side: Side, _: str) -> None:
    names = _many(20)
    if side.name == "podman":
        names = ["-t", "0", *names]
    _quiet(side.command("rm", "-f", *names))


def _clear_many(side: Side, _: str) -> None:
    subprocess.run(side.command("rm", "-f", *_many(20)), capture_output=True)


def _ensure_many(side: Side, work: str) -> None:
    _clear_many(side, work)
    _at_once(20)(side, work)


def _start_sleeper(side: Side, _: str) -> None:
    _quiet(side.command("run", "-d", "--name", "sleeper", "--network", "none", BUSYBOX, "sleep", "1000"))


def _stop_sleeper(side: Side, _: str) -> None:
    _quiet(side.command("rm", "-f", "sleeper"))


def _dockerfile(work: str, name: str, text: str) -> str:
    directory = f"{work}/{name}"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/Dockerfile", "w", encoding="utf-8") as file:
        file.write(text)
    return directory


_CACHED = f"""FROM {BUSYBOX}
ENV A=1
COPY Dockerfile /x
RUN echo one > /one
RUN echo two > /two
CMD ["true"]
"""
_STAGES = f"""FROM {BUSYBOX} AS one
RUN sleep 1 && echo one > /one
FROM {BUSYBOX} AS two
RUN sleep 1 && echo two > /two
FROM {BUSYBOX}
COPY --from=one /one /one
COPY --from=two /two /two
"""


def _build(side: Side, directory: str, *options: str) -> None:
    _quiet(side.command("build", "-q", *options, "-t", f"bench/{os.path.basename(directory)}", directory))


def _build_kit(side: Side, directory: str, *options: str) -> None:
    environment = {**os.environ, "DOCKER_BUILDKIT": "1" if side.name == "docker" else ""}
    command = side.command("build", "-q", *options, "-t", f"bench/{os.path.basename(directory)}", directory)
    _quiet(command, env=environment)


def _prepare_cached(side: Side, work: str) -> None:
    _build(side, _dockerfile(work, "cached", _CACHED))


def _prepare_stages(side: Side, work: str) -> None:
    _dockerfile(work, "stages", _STAGES)


def _prepare_tree(side: Side, work: str) -> None:
    _tree(work, 20000)


def _tree(work: str, files: int) -> str:
    directory = _dockerfile(work, "tree", f"FROM {BUSYBOX}\nCOPY . /src\n")
    if not os.path.exists(f"{directory}/0"):
        source = random.Random(1)
        for i in range(files):
            folder = f"{directory}/{i % 200}"
            os.makedirs(folder, exist_ok=True)
            with open(f"{folder}/{i}.txt", "wb") as file:
                file.write(source.randbytes(source.randrange(200, 4000)))
    return directory


def big_archive(work: str) -> str:
    """An image archive of about 450 MB in 13,565 files, one layer, compressible as programs are."""
    tar = f"{work}/big.tar"
    source = random.Random(2)
    words = [source.randbytes(source.randrange(3, 12)) for _ in range(4000)]
    with tarfile.open(tar, "w") as out:
        for i in range(13565):
            info = tarfile.TarInfo(f"usr/lib/d{i % 300}/f{i}")
            body = b"".join(source.choices(words, k=4400))
            info.size = len(body)
            out.addfile(info, io.BytesIO(body))
    return tar


def _load_prepare(side: Side, work: str) -> None:
    if side.name == "tiffin" and not os.path.exists(f"{work}/big-image.tar"):
        run(side.command("import", big_archive(work), "bench/big"))
        run(side.command("save", "-o", f"{work}/big-image.tar", "bench/big"))


def _load_before(side: Side, work: str) -> None:
    subprocess.run(side.command("rmi", "-f", "bench/big"), capture_output=True)


def _load(side: Side, work: str) -> None:
    side.load(f"{work}/big-image.tar")


def _plain_prepare(side: Side, work: str) -> None:
    """The same as `docker save` writes it: the layer uncompressed, in a docker-archive."""
    if side.name == "tiffin":
        layer = f"{work}/big.tar" if os.path.exists(f"{work}/big.tar") else big_archive(work)
        with open(layer, "rb") as file:
            diff_id = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        config = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux",
            "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }  # fmt: skip
        manifest = [{"Config": "config.json", "RepoTags": ["bench/big:latest"], "Layers": ["layer.tar"]}]
        with tarfile.open(f"{work}/plain-image.tar", "w") as out:
            out.add(layer, "layer.tar")
            for name, document in (("config.json", config), ("manifest.json", manifest)):
                body = json.dumps(document).encode()
                info = tarfile.TarInfo(name)
                info.size = len(body)
                out.addfile(info, io.BytesIO(body))


def _load_plain(side: Side, work: str) -> None:
    side.load(f"{work}/plain-image.tar")


def _pull_prepare(side: Side, work: str) -> None:
    if not os.path.exists(f"{work}/big-image.tar"):
        raise RuntimeError("the row needs tiffin's archive, which its side makes first")
    registry_of(side, work).fill(f"{work}/big-image.tar", "bench/big")


def _pull_first(side: Side, work: str) -> None:
    _load_prepare(side, work)
    _load_before(side, work)
    _pull_prepare(side, work)


def _remote(side: Side, work: str) -> str:
    return f"{registry_of(side, work).host}/bench/big"


def _unsafe(side: Side) -> list[str]:
    return ["--tls-verify=false"] if side.name == "podman" else []


def _pull_before(side: Side, work: str) -> None:
    subprocess.run(side.command("rmi", "-f", _remote(side, work)), capture_output=True)


def _pull(side: Side, work: str) -> None:
    _quiet(side.command("pull", "-q", *_unsafe(side), _remote(side, work)))


def _push_prepare(side: Side, work: str) -> None:
    _load_prepare(side, work)
    side.load(f"{work}/big-image.tar")
    run(side.command("tag", "bench/big", _remote(side, work)))


def _push_before(side: Side, work: str) -> None:
    registry_of(side, work).clear()


def _push(side: Side, work: str) -> None:
    _quiet(side.command("push", "-q", *_unsafe(side), _remote(side, work)))


def _push_finish(side: Side, work: str) -> None:
    subprocess.run(side.command("rmi", "-f", "bench/big", _remote(side, work)), capture_output=True)


def _flood(side: Side, _: str) -> None:
    """A megabyte in lines of two bytes, from the start to the last one read from a followed log."""
    limits = ["--log-opt", "max-size=10g"] if side.name != "podman" else []
    _quiet(side.command("run", "-d", "--name", "flood", "--network", "none", *limits, BUSYBOX,
                        "sh", "-c", "yes | head -c 1000000"))  # fmt: skip
    _quiet(side.command("logs", "-f", "flood"))


def _flood_before(side: Side, _: str) -> None:
    subprocess.run(side.command("rm", "-f", "flood"), capture_output=True)


ENGINES = ("tiffin", "docker", "podman")
ROWS = (
    Row("run --rm --network none IMG true", {"docker": 0.16, "runc": 1.4}, (*ENGINES, "runc"), 15, _nothing,
        _call("run", "--rm", "--network", "none", BUSYBOX, "true"), _nothing, _nothing),
    Row("run --rm IMG true (bridge)", {"docker": 0.18}, ENGINES, 11, _nothing,
        _call("run", "--rm", BUSYBOX, "true"), _nothing, _nothing),
    Row("exec C true", {"docker": 0.5}, ENGINES, 15, _start_sleeper,
        _call("exec", "sleeper", "true"), _nothing, _stop_sleeper),
    Row("20 x run -d at once", {"docker": 0.35}, ENGINES, 3, _nothing, _at_once(20), _clear_many, _nothing),
    Row("ps", {"podman": 1.3}, ENGINES, 15, _nothing, _call("ps"), _nothing, _nothing),
    Row("rm -f of those 20", {"docker": 0.4}, ENGINES, 3, _nothing, _remove_many, _ensure_many, _nothing),
    Row("images", {"podman": 1.3}, ENGINES, 15, _nothing, _call("images"), _nothing, _nothing),
    Row("build, all steps cached, 5 steps", {"docker": 1.2}, ENGINES, 9, _prepare_cached,
        lambda side, work: _build(side, f"{work}/cached"), _nothing, _nothing),
    Row("build, two stages of 1 s each", {"docker": 0.9}, ENGINES, 3, _prepare_stages,
        lambda side, work: _build_kit(side, f"{work}/stages", "--no-cache"), _nothing, _nothing),
    Row("build, COPY of 20,000 files, cold", {"docker": 0.5}, ENGINES, 3, _prepare_tree,
        lambda side, work: _build_kit(side, f"{work}/tree", "--no-cache"), _nothing, _nothing),
    Row("the same, nothing changed", {"docker": 0.5}, ENGINES, 5, lambda side, work: _build_kit(side, f"{work}/tree"),
        lambda side, work: _build_kit(side, f"{work}/tree"), _nothing, _nothing),
    Row("load, 450 MB in 13,565 files", {"docker": 0.5}, ENGINES, 3, _load_prepare, _load, _load_before, _load_before),
    Row("load, the same not compressed", {"docker": 0.5}, ENGINES, 3, _plain_prepare, _load_plain, _load_before,
        _load_before),
    Row("pull, 450 MB in 13,565 files", {"docker": 0.35, "podman": 0.6}, ENGINES, 3, _pull_first, _pull, _pull_before,
        _pull_before),
    Row("log of 1 MB in 2-byte lines, followed", {"docker": 1.0}, ENGINES, 3, _nothing, _flood, _flood_before,
        _flood_before),
    Row("push, the same", {"docker": 0.15}, ENGINES, 3, _push_prepare, _push, _push_before, _push_finish),
)  # fmt: skip
