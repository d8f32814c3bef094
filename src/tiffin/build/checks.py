"""The lint of a build: the rules of `tiffin.dockerfile.lint`, told what a context and the images here know."""

from __future__ import annotations

from tiffin.build.contexts.context import Context
from tiffin.build.planning.config import environment
from tiffin.dockerfile import lint
from tiffin.dockerfile.platform_args import platform_args
from tiffin.dockerfile.stages import Dockerfile, parse_dockerfile
from tiffin.errors import DockerfileError, InvalidArgument, NotFound
from tiffin.oci.platform import Platform, host_platform, normal, parse_platform
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.build.describe import Source
    from tiffin.build.request import BuildRequest
    from tiffin.images import Images


class CheckResult(NamedTuple):
    """What the lint found in a Dockerfile: how many `findings`, `lines` to show them, `notes` about the check itself,
    `violation`, the text of the refusal where the Dockerfile asks for one, and `error`, what a build would stop at.
    `found` are the findings themselves, in the Dockerfile `source`."""

    findings: int
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    violation: str
    error: DockerfileError | None
    found: tuple[lint.Finding, ...]
    source: Source


def check(request: BuildRequest, images: Images) -> CheckResult:
    """Lint the Dockerfile, all its stages; nothing is built, and no image fetched. Of one that is wrong what stands
    before the mistake is looked at. Raises DockerfileError when nothing does."""
    from tiffin.build.describe import opened  # not for `check_build`, which every build is held up by

    with opened(request, images.store.layout) as (context, source):
        dockerfile, error = _readable(source.text, source.file)
        subject = _subject(request, dockerfile, context, images, every_stage=True)
        report = lint.check(subject, lint.Options.of(dockerfile, request.build_args))
    shown = source.text.decode().removeprefix("\ufeff")
    lines = [line for finding in report.findings for line in finding.lines(source.file, shown)]
    error = error or _wrong_target(dockerfile, request.target) or lint.mistake(subject)
    if error is not None and error.line and error.file == source.file:
        from tiffin.build.results.history import explain

        explain(error, source.text, dockerfile)
    return CheckResult(
        len(report.findings),
        tuple(lines),
        report.unknown,
        report.violation,
        error,
        report.findings,
        source,
    )


def _readable(text: bytes, name: str) -> tuple[Dockerfile, DockerfileError | None]:
    """The Dockerfile, or what of it stands before the line that is wrong, and what is wrong there."""
    try:
        return parse_dockerfile(text, name), None
    except DockerfileError as error:
        try:
            before = b"\n".join(text.split(b"\n")[: max(error.line - 1, 0)])
            return parse_dockerfile(before, name), error
        except DockerfileError:
            from tiffin.build.results.history import explain

            if error.line and error.file == name:
                explain(error, text, None)
            raise error from None


def _wrong_target(dockerfile: Dockerfile, target: str) -> DockerfileError | None:
    try:
        dockerfile.target(target)
    except DockerfileError as error:
        return error
    return None


def check_build(
    request: BuildRequest, dockerfile: Dockerfile, context: Context, images: Images
) -> lint.Report:
    """Lint the stages that a build needs, once its base images are here. Raises DockerfileError when the Dockerfile
    asks that findings stop it."""
    subject = _subject(request, dockerfile, context, images, every_stage=False)
    report = lint.check(subject, lint.Options.of(dockerfile, request.build_args))
    if report.violation:
        raise DockerfileError(f"{report.violation}; see build --check", file=dockerfile.file)
    return report


def _subject(
    request: BuildRequest, dockerfile: Dockerfile, context: Context, images: Images, *, every_stage: bool
) -> lint.Subject:
    def base_environment(name: str) -> dict[str, str] | None:
        try:
            return environment(images.resolve(name).config.get("config") or {})
        except (NotFound, InvalidArgument):
            return None

    first = request.platform.partition(",")[0].strip()
    target = parse_platform(first) if first else host_platform()
    predefined = platform_args(target, host_platform())

    def platforms(name: str, asked: str) -> tuple[Platform, Platform] | None:
        try:
            wanted = parse_platform(asked) if asked else target if first else None
            document = images.resolve(name, wanted).config
        except (NotFound, InvalidArgument):
            return None
        if not document.get("architecture"):
            return None
        words = document.get("os") or "linux", document["architecture"], document.get("variant") or ""
        return normal(Platform(*words)), wanted or target

    only = None
    if not every_stage:
        values = dockerfile.evaluate_global_args(request.build_args, predefined)
        only = dockerfile.reachable(dockerfile.target(request.target), values)
    return lint.Subject(
        dockerfile, request.build_args, predefined, context.leaves_out, base_environment, only, platforms
    )
