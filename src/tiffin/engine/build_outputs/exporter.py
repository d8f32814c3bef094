"""`Exporter`: does with a build's result what its outputs say, in their order, and tells what came of it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tiffin.build.progress import Notice, Sending
from tiffin.build.request import BuildRequest, BuildResult
from tiffin.build.results.outputs import Output, parse_outputs
from tiffin.build.solving.export import Solved
from tiffin.engine.build_outputs.products import Member, Product, make_product
from tiffin.errors import EngineError, InvalidArgument, NoSpace
from tiffin.images import Images
from tiffin.images.write import Provenance
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tiffin.engine.build_outputs.cache_to import CacheTo
    from tiffin.images.pack import Sink
    from tiffin.images.transfer import TransferEvent
    from tiffin.state import Store


class Exporter:
    """The `Finish` of a builder. `images` afterwards are the IDs of the images that it has recorded."""

    def __init__(
        self, store: Store, images: Images, request: BuildRequest, cache_to: Sequence[CacheTo]
    ) -> None:
        """Reads all options of the request, so that a wrong one ends the build before it begins. Raises
        InvalidArgument."""
        self._store = store
        self._images = images
        self._outputs = parse_outputs(request.outputs, request.annotations)
        self._cache_to = cache_to
        self._inline = any(each.inline for each in cache_to)
        self.images: list[str] = []
        names = [str(parse_reference(tag)) for tag in request.tags]
        several = request.platform.count(",") > 0
        for output in self._outputs:
            _check(output, self._names(output, names), several=several)

    def __call__(
        self, request: BuildRequest, solved: Sequence[Solved], names: Sequence[str], /
    ) -> BuildResult:
        if self._inline:
            from tiffin.build.results.exchange import with_inline

            solved = [one._replace(document=with_inline(one)) for one in solved]
        metadata: dict[str, Any] = {}
        image_id = ""
        given: list[str] = []
        for output in self._outputs:
            named = self._names(output, names)
            product = None
            if output.kind in ("image", "oci", "docker"):
                product = make_product(self._images, solved, output)
                self._documents(request, product, output, named)
                metadata = {**_metadata(product, named), **metadata}
                image_id = image_id or product.image_id
                given += [name for name in named if output.is_image and name not in given]
            elif output.kind != "cacheonly":
                self._files(request, solved, output)
        for cache in self._cache_to:
            cache.write(self._images, solved, request.progress)
        if not image_id:
            image_id = make_product(self._images, solved, Output("image")).image_id
        return BuildResult(image_id, tuple(given), (), metadata=metadata)

    def _names(self, output: Output, names: Sequence[str]) -> Sequence[str]:
        return names if output.names is None else output.names

    def _documents(
        self, request: BuildRequest, product: Product, output: Output, names: Sequence[str]
    ) -> None:
        if not output.is_image:
            self._archive(product, output, names)
            return
        self._record(product, names)
        if output.push:
            self._push(request, names)

    # ---- the store and registries

    def _record(self, product: Product, names: Sequence[str]) -> None:
        """The images of a product; of several the one for this machine, else the first, is what the names stand for
        here. It comes last: before that, nothing has a name."""
        indexes = (product.above,) if product.above is not None else ()
        if product.above is not None:
            self._images.content.put_bytes(product.above.data)
        host = host_platform()
        members = product.members
        chosen = next((m for m in members if m.descriptor.platform == host), members[0])
        for member in sorted(members, key=lambda each: each is chosen):
            self._images.content.put_bytes(member.config)
            image = self._images.add_image(
                member.manifest,
                member.descriptor.media_type,
                names if member is chosen else (),
                Provenance(indexes=indexes, replaces=True),
            )
            self.images.append(image.id)

    def _push(self, request: BuildRequest, names: Sequence[str]) -> None:
        from tiffin.config import load_settings
        from tiffin.engine.remote import connect

        uploads = load_settings().registries.uploads
        with connect() as registry:
            for name in names:

                def report(event: TransferEvent, /, name: str = name) -> None:
                    request.progress(Sending(name, *event))

                self._images.push(registry, name, report, uploads=uploads)

    # ---- archives

    def _archive(self, product: Product, output: Output, names: Sequence[str]) -> None:
        from tiffin.images.pack import DirectorySink, TarSink

        if not output.tar:
            directory = DirectorySink(output.dest)
            try:
                self._pack(product, output, names, directory)
            finally:
                directory.close()
            return
        with destination(output.dest) as out:
            self._pack(product, output, names, TarSink(out))

    def _pack(self, product: Product, output: Output, names: Sequence[str], sink: Sink) -> None:
        from tiffin.engine.remote import Later
        from tiffin.images.pack import Packer

        with Later() as registry:
            packer = Packer(self._images, sink, registry)
            for member in product.members:
                for layer in member.layers:
                    packer.layer(layer)
                packer.document(member.config)
                packer.document(member.manifest)
            if product.above is not None:
                packer.document(product.above.data)
            top = product.top
            rows = [(top.digest, top.media_type, top.size, tuple(names))]
            packer.finish(rows, _docker(product.members, names) if output.kind == "docker" else None)

    # ---- files

    def _files(self, request: BuildRequest, solved: Sequence[Solved], output: Output) -> None:
        from tiffin.engine.build_outputs import files

        split = len(solved) > 1 if output.split is None else output.split
        if len(solved) > 1 and not split:
            raise InvalidArgument(
                f"platform-split=false: the files of {len(solved)} platforms would be mixed in {output.dest}"
            )
        if output.kind == "local":
            for text in files.write_directory(self._images, solved, output.dest, split=split):
                request.progress(Notice(text))
            return
        with destination(output.dest) as out:
            files.write_tar(self._images, solved, out, output.dest, split=split)


def _check(output: Output, names: Sequence[str], *, several: bool) -> None:
    """What can be known to go wrong before anything is built."""
    if output.push and not names:
        raise InvalidArgument("a name is needed to push to: give one with -t")
    if output.kind == "docker" and several:
        raise InvalidArgument(
            "a docker archive holds one platform; use type=oci, or one --platform for each archive"
        )
    if output.dest == "-" and sys.stdout.isatty():
        raise InvalidArgument(
            "dest file is required: refusing to write an archive to the terminal; name one with dest="
        )


def _docker(members: Sequence[Member], names: Sequence[str]) -> list[dict[str, Any]]:
    from tiffin.images.pack import docker_entry

    return [docker_entry(member.config_digest, names, member.layers) for member in members]


def _metadata(product: Product, names: Sequence[str]) -> dict[str, Any]:
    """What --metadata-file says of it, under BuildKit's keys."""
    found: dict[str, Any] = {}
    if product.above is None:
        found["containerimage.config.digest"] = product.members[0].config_digest
    found["containerimage.descriptor"] = product.top.document()
    found["containerimage.digest"] = product.top.digest
    if names:
        found["image.name"] = ",".join(names)
    return found


@contextmanager
def destination(dest: str) -> Iterator[BinaryIO]:
    """The file to write to: standard output for "-", else aside until all is written, unless something that is no file
    has that name. Raises NoSpace, EngineError."""
    if dest == "-":
        with open(os.dup(sys.stdout.fileno()), "wb") as out:
            yield out
        return
    try:
        special = not stat.S_ISREG(os.stat(dest).st_mode)
    except OSError:
        special = False
    aside = dest if special else f"{dest}.{os.urandom(6).hex()}"
    flags = os.O_WRONLY | os.O_CLOEXEC | (0 if special else os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    try:
        with open(os.open(aside, flags, 0o666), "wb") as out:
            yield out
        if not special:
            os.rename(aside, dest)
    except OSError as error:
        _unlink(aside, special=special)
        raise _failed(dest, error) from error
    except BaseException:
        _unlink(aside, special=special)
        raise


def _unlink(path: str, *, special: bool) -> None:
    if special:
        return
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _failed(dest: str, error: OSError) -> Exception:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left to write {dest}; free some and try again")
    return EngineError(f"cannot write {dest}: {error.strerror}")
