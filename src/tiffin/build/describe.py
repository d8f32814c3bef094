"""What a build is about, without building: the Dockerfile that a request leads to, and what it offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.build.contexts.arrivals import Arrivals
from tiffin.build.contexts.context import Context
from tiffin.build.contexts.lending import lending
from tiffin.dockerfile.outline import Outline, Target, outline, targets
from tiffin.dockerfile.platform_args import platform_args
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import DockerfileError
from tiffin.oci.platform import host_platform, parse_platform
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.build.request import BuildRequest
    from tiffin.state import Layout


class Source(NamedTuple):
    """A Dockerfile: its name for messages, and its text."""

    file: str
    text: bytes


class Description(NamedTuple):
    """`outline` is of the target that was asked for."""

    source: Source
    targets: tuple[Target, ...]
    outline: Outline


@contextmanager
def opened(request: BuildRequest, layout: Layout) -> Iterator[tuple[Context, Source]]:
    """The main context, its ignore rules in force, and the Dockerfile. Raises NotFound, InvalidArgument."""
    with lending(request.secrets, request.ssh, layout.staging) as lent, Arrivals(layout, lent) as arrivals:
        context, alone = arrivals.main(request.context_dir, request.dockerfile, request.stdin)
        try:
            given = request.dockerfile if alone is None else alone
            if isinstance(given, bytes):
                context.use_ignore_rules()
                yield context, Source("Dockerfile", given)
            else:
                text, name = context.read_dockerfile(given)
                context.use_ignore_rules(given)
                yield context, Source(name, text)
        finally:
            context.close()


def describe(request: BuildRequest, layout: Layout) -> Description:
    """What can be built of the Dockerfile, and what the target takes. Raises DockerfileError."""
    with opened(request, layout) as (_, source):
        pass
    try:
        return _described(request, source)
    except DockerfileError as error:
        if error.line and error.file == source.file:
            from tiffin.build.results.history import explain

            explain(error, source.text, None)
        raise


def _described(request: BuildRequest, source: Source) -> Description:
    dockerfile = parse_dockerfile(source.text, source.file)
    first = request.platform.partition(",")[0].strip()
    predefined = platform_args(parse_platform(first) if first else host_platform(), host_platform())
    found = outline(dockerfile, request.target, request.build_args, predefined)
    return Description(source, targets(dockerfile), found)
