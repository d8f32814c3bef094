"""--cache-to and --cache-from: another engine takes the results over, and believes nothing that it need not."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Tiffin, fresh_engine
from tests.registries import docker_registry

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS made
COPY data /data
RUN --network=none cat /proc/sys/kernel/random/uuid >/made
FROM busybox
WORKDIR /w
COPY --from=made /made /made
RUN --network=none cat /proc/sys/kernel/random/uuid >/own
ENV A=1
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base image as an archive: its config is to be the same in every engine."""
    directory = tmp_path_factory.mktemp("base")
    with fresh_engine(directory) as tiffin:
        tiffin.ok("save", "-o", directory / "base.tar", "busybox")
    return directory / "base.tar"


@pytest.fixture
def two(tmp_path: Path, base: Path) -> Iterator[tuple[Tiffin, Tiffin]]:
    with (
        fresh_engine(tmp_path / "1", busybox=False) as one,
        fresh_engine(tmp_path / "2", busybox=False) as other,
    ):
        for tiffin in (one, other):
            tiffin.ok("load", "-i", base)
        yield one, other


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    (made / "data").mkdir(parents=True)
    for number in range(250):  # enough that the key is only known when the files were read
        (made / f"data/{number}").write_text(str(number))
    (made / "Dockerfile").write_text(DOCKERFILE)
    return made


def built(tiffin: Tiffin, context: Path, *options: str | Path) -> tuple[str, str]:
    """The image ID, and what was told."""
    iid = context.parent / "iid"
    done = tiffin("build", "--iidfile", iid, *options, str(context))
    assert done.returncode == 0, done.stderr
    return iid.read_text(), done.stderr


def ran(log: str) -> list[str]:
    """The steps that were executed."""
    begun = [line for line in log.splitlines() if "] " in line and line.startswith("#")]
    return [
        line for line in begun if not line.endswith("CACHED") and "FROM" not in line and "because" not in line
    ]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_directory_carries_results_to_another_engine(
    two: tuple[Tiffin, Tiffin], context: Path, tmp_path: Path, mode: str
) -> None:
    one, other = two
    made, _ = built(one, context, "--cache-to", f"type=local,dest={tmp_path}/cache,mode={mode}")
    taken, log = built(other, context, "--cache-from", f"type=local,src={tmp_path}/cache")
    assert taken == made
    assert ran(log) == []
    (context / "data/new").write_text("new")
    _, log = built(other, context, "--cache-from", f"type=local,src={tmp_path}/cache")
    assert len(ran(log)) >= 2
    shutil.rmtree(tmp_path / "cache")  # noqa: TID251 - the test's own tree
    (context / "data/new").unlink()
    again, log = built(other, context, "--cache-from", f"type=local,src={tmp_path}/cache")
    assert "no build cache is taken" in log and again != ""


def test_min_has_the_steps_of_the_result_and_max_has_all(
    two: tuple[Tiffin, Tiffin], context: Path, tmp_path: Path
) -> None:
    for mode, layers in (("min", 3), ("max", 4)):  # one of those of the first stage is that of the COPY
        built(two[0], context, "--cache-to", f"type=local,dest={tmp_path}/{mode},mode={mode}")
        index = json.loads((tmp_path / mode / "index.json").read_text())
        manifest = json.loads(blob(tmp_path / mode, index["manifests"][0]["digest"]).read_text())
        assert len(manifest["layers"]) == layers


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs/sha256" / digest[7:]


@pytest.mark.registry
def test_registries_carry_results_by_themselves_and_within_images(
    two: tuple[Tiffin, Tiffin], context: Path, tmp_path: Path
) -> None:
    one, other = two
    with docker_registry(tmp_path) as registry:
        cache, image = f"{registry.host}/app:cache", f"{registry.host}/app:1"
        made, _ = built(one, context, "--cache-to", f"type=registry,ref={cache},mode=max")
        taken, log = built(other, context, "--cache-from", cache)
        assert (taken, ran(log)) == (made, [])
        other.ok("builder", "prune", "-af")
        pushed, _ = built(one, context, "-t", image, "--push", "--cache-to", "type=inline")
        assert pushed != made  # its config says by which steps it was made
        taken, log = built(
            other, context, "--cache-from", f"type=registry,ref={image}", "--cache-to", "type=inline"
        )
        assert (taken, ran(log)) == (pushed, [])
        one.ok("run", "--rm", "--network", "none", image, "true")
        _, log = built(other, context, "--cache-from", f"{registry.host}/app:none")
        assert "no build cache is taken" in log


def test_what_was_believed_once_binds_no_build_that_does_not_say_so(
    two: tuple[Tiffin, Tiffin], context: Path, tmp_path: Path
) -> None:
    """T25: results from elsewhere, and all that was made with one, are for builds that name the same place."""
    one, other = two
    built(one, context, "--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
    (context / "Dockerfile").write_text(DOCKERFILE + "RUN --network=none cp /made /copy\n")
    _, log = built(other, context, "--cache-from", f"type=local,src={tmp_path}/cache")
    assert len(ran(log)) == 1
    _, log = built(other, context, "--cache-from", f"type=local,src={tmp_path}/cache")
    assert ran(log) == []
    _, log = built(other, context)
    assert len(ran(log)) == 6


def rewritten(cache: Path, change: Any) -> None:
    """The cache with another document, all digests right again."""
    index = json.loads((cache / "index.json").read_text())
    manifest = json.loads(blob(cache, index["manifests"][0]["digest"]).read_text())
    document = json.loads(blob(cache, manifest["config"]["digest"]).read_text())
    change(cache, manifest, document)
    for holder, value in ((manifest["config"], document), (index["manifests"][0], manifest)):
        data = json.dumps(value).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        holder.update(digest=digest, size=len(data))
        blob(cache, digest).write_bytes(data)
    (cache / "index.json").write_text(json.dumps(index))


def other_diff_id(_: Path, __: Any, document: Any) -> None:
    document["layers"] = ["sha256:" + "0" * 64] * len(document["layers"])


def other_bytes(cache: Path, manifest: Any, _: Any) -> None:
    for layer in manifest["layers"]:
        blob(cache, layer["digest"]).write_bytes(b"x" * layer["size"])


def layers_that_are_links(cache: Path, manifest: Any, _: Any) -> None:
    for layer in manifest["layers"]:
        path = blob(cache, layer["digest"])
        path.rename(cache / path.name)
        path.symlink_to(cache / path.name)


CRAFTED = [other_diff_id, other_bytes, layers_that_are_links]


def test_a_crafted_cache_is_not_used(two: tuple[Tiffin, Tiffin], context: Path, tmp_path: Path) -> None:
    """T25: layers are held to digest and DiffID; a document that is not as it should be is told of, and is none."""
    one, other = two
    (context / "Dockerfile").write_text(
        "FROM busybox\nRUN --network=none cat /proc/sys/kernel/random/uuid >/own\n"
    )
    made, _ = built(one, context, "--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
    for change in CRAFTED:
        crafted = tmp_path / change.__name__
        shutil.copytree(tmp_path / "cache", crafted)
        rewritten(crafted, change)
        taken, log = built(other, context, "--cache-from", f"type=local,src={crafted}")
        assert taken != made and "is not usable" in log, change.__name__
        other.ok("builder", "prune", "-af")
    assert other.ok("system", "fsck") == "nothing is damaged"


def test_a_cache_that_cannot_be_written_fails_the_build_unless_it_may(
    two: tuple[Tiffin, Tiffin], context: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    target = f"type=local,dest={tmp_path}/file/cache"
    assert two[0]("build", "--cache-to", target, str(context)).returncode == 1
    done = two[0]("build", "--cache-to", f"{target},ignore-error=true", str(context))
    assert done.returncode == 0 and "the build cache is not written" in done.stderr
