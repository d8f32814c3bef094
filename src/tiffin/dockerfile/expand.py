"""Evaluating the words of an instruction: the one call that the builder makes before it acts on one.

    expand(instruction, env) -> the same kind of instruction, its words final

`env` is the environment at that place of the stage: the image's and stage's ENV, and the ARGs in force. For
FROM it is the global ARGs. Expand an instruction once: what a variable held is not evaluated again. What can
only be checked with final words is checked here (ports, signals, destinations), with file, line and
instruction in the error.
"""

from __future__ import annotations

import re

from tiffin.dockerfile import remote, shell_words
from tiffin.dockerfile.command import Heredoc
from tiffin.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    From,
    Instruction,
    Label,
    Run,
    Stopsignal,
    Transfer,
    User,
    Volume,
    Workdir,
)
from tiffin.dockerfile.place import Place, nearest, shown
from tiffin.dockerfile.ports import expand_port
from tiffin.dockerfile.shell_words import DEFAULT_ESCAPE, WordError
from tiffin.dockerfile.signals import SIGNALS, is_signal
from tiffin.errors import InvalidArgument
from tiffin.oci.platform import parse_platform
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    AnyInstruction = TypeVar("AnyInstruction", bound=Instruction)

_ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}
_COMMIT = re.compile("[0-9a-fA-F]{7,64}")


class _Words:
    """The shell lexer bound to one place and environment."""

    def __init__(self, place: Place, env: Mapping[str, str], escape: str) -> None:
        self.place, self._env, self.escape = place, env, escape

    def word(self, word: str) -> str:
        try:
            return shell_words.expand(word, self._env, self.escape)
        except WordError as error:
            raise self._refused(word, error) from error

    def words(self, text: str) -> list[str]:
        try:
            return shell_words.expand_words(text, self._env, self.escape)
        except WordError as error:
            raise self._refused(text, error) from error

    def document(self, document: Heredoc) -> Heredoc:
        if not document.expand:
            return document
        try:
            return document.replace(content=shell_words.expand_document(document.content, self._env))
        except WordError as error:
            raise self._refused(f"<<{document.name}", error) from error

    def pairs(self, pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        expanded = tuple((self.word(name), self.word(value)) for name, value in pairs)
        if any(not name for name, _ in expanded):
            raise self.place.error("names can not be blank")
        return expanded

    def hint(self, text: str) -> str:
        """The variable that was probably meant by one of `text` that is not there."""
        names = re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", text)
        return next(
            (found for name in names if name not in self._env and (found := nearest(name, self._env))), ""
        )

    def _refused(self, text: str, error: WordError) -> Exception:
        return self.place.error(f"{shown(text)}: {error}")


def expand(
    instruction: AnyInstruction,
    env: Mapping[str, str],
    escape: str = DEFAULT_ESCAPE,
    *,
    file: str = "Dockerfile",
) -> AnyInstruction:
    """The instruction with its words evaluated; one that has none to evaluate is returned as it is.

    `escape` is the Dockerfile's escape character, `file` its name for messages. Arg is for `resolve_args`,
    which knows what was given; here its defaults are taken. Raises DockerfileError.
    """
    if isinstance(instruction, Arg):
        return instruction.replace(pairs=resolve_args(instruction, env, {}, {}, escape, file=file))
    place = Place(file, instruction.line, instruction.keyword)
    expander = _EXPANDERS.get(type(instruction))
    if expander is None:
        return instruction
    expanded: AnyInstruction = expander(instruction, _Words(place, env, escape))
    return expanded


def resolve_args(
    arg: Arg,
    env: Mapping[str, str],
    given: Mapping[str, str],
    inherited: Mapping[str, str],
    escape: str = DEFAULT_ESCAPE,
    *,
    file: str = "Dockerfile",
) -> tuple[tuple[str, str | None], ...]:
    """Name and value of each ARG of the line; None where nothing gives one.

    A value comes from `given` (--build-arg), else from the default, else from `inherited` (in a stage: the
    global ARGs; before the first FROM: nothing). A default sees the arguments that stand before it on the
    line, and one that is not needed is not evaluated, so it cannot fail.
    """
    place = Place(file, arg.line, arg.keyword)
    scope = shell_words.Watched(env)
    resolved: list[tuple[str, str | None]] = []
    words = _Words(place, scope, escape)
    for written, default in arg.pairs:
        name = words.word(written)
        if not name:
            raise place.error("names can not be blank")
        value = given.get(name)
        if value is None and default is not None:
            value = words.word(default)
        elif value is None:
            value = inherited.get(name)
        if value is not None:
            scope[name] = value
        resolved.append((name, value))
    return tuple(resolved)


def _from(instruction: From, words: _Words) -> From:
    image = words.word(instruction.image)
    if not image:
        hint = words.hint(instruction.image)
        raise words.place.error(f"base name ({shown(instruction.image)}) should not be blank{hint}")
    platform = words.word(instruction.platform)
    if instruction.platform and not platform:
        hint = words.hint(instruction.platform)
        raise words.place.error(f"empty platform value from expression {shown(instruction.platform)}{hint}")
    if platform:
        try:
            parse_platform(platform)
        except InvalidArgument as error:
            raise words.place.error(f"--platform={shown(platform)}: {error}") from error
    return instruction.replace(image=image, platform=platform)


def _run(instruction: Run, words: _Words) -> Run:
    if not instruction.mount_texts:
        return instruction
    from tiffin.dockerfile.mount_flag import read_mount  # rarer than RUN

    mounts = tuple(
        read_mount(text, words.place, words.escape, words.word) for text in instruction.mount_texts
    )
    return instruction.replace(mounts=mounts)


def _transfer(instruction: Transfer, words: _Words) -> Transfer:
    result = instruction.replace(
        sources=tuple(words.word(source) for source in instruction.sources),
        dest=words.word(instruction.dest),
        chown=words.word(instruction.chown),
        chmod=words.word(instruction.chmod),
        exclude=tuple(words.word(pattern) for pattern in instruction.exclude),
        heredocs=tuple(words.document(document) for document in instruction.heredocs),
    )
    for written, source in zip(instruction.sources, result.sources, strict=True):
        if not source:
            raise words.place.error(
                f"source {shown(written)} is empty after its variables were replaced{words.hint(written)}"
            )
    _check_transfer(result, words.place)
    return result


def _add(instruction: Add, words: _Words) -> Add:
    result = instruction.replace(checksum=words.word(instruction.checksum))
    added = _transfer(result, words)
    assert isinstance(added, Add)
    _check_remote(added, words.place)
    return added


def _check_transfer(transfer: Transfer, place: Place) -> None:
    many = len(transfer.sources) + len(transfer.heredocs) > 1
    if (
        many
        and transfer.dest
        and not transfer.dest.endswith("/")
        and not re.search(r"(^|/)\.\.?$", transfer.dest)
    ):
        raise place.error("with more than one source the destination must be a directory and end with a /")
    if isinstance(transfer, Copy):
        for source in transfer.sources:
            if remote.is_git(source):
                raise place.error(f"source can't be a git repository for COPY: {shown(source)}: use ADD")
            if remote.is_url(source):
                raise place.error(f"source can't be a URL for COPY: {shown(source)}: use ADD")
    _check_flags(transfer, place)


def _check_flags(transfer: Transfer, place: Place) -> None:
    if transfer.chmod:
        from tiffin.dockerfile.chmod import parse_chmod  # as rare as the flag

        try:
            parse_chmod(transfer.chmod)
        except InvalidArgument as error:
            raise place.error(f"invalid --chmod: {shown(transfer.chmod)}: {error}") from error
    for pattern in transfer.exclude:
        from tiffin.dockerfile.ignore_pattern import matcher  # as rare as the flag

        try:
            matcher(pattern)
        except ValueError as error:
            raise place.error(f"invalid --exclude: {shown(pattern)}: {error}") from error


def _check_remote(add: Add, place: Place) -> None:
    """The flags that are for sources from elsewhere alone."""
    git = [source for source in add.sources if remote.is_git(source)]
    if add.keep_git_dir and not git:
        raise place.error("--keep-git-dir is for git repositories: no source is one")
    if not add.checksum:
        return
    if len(add.sources) != 1 or add.heredocs:
        raise place.error("checksum can't be specified for multiple sources")
    if git:
        good = _COMMIT.fullmatch(add.checksum) is not None
        want = "the hash of a commit"
    elif remote.is_url(add.sources[0]):
        algorithm, _, digits = add.checksum.partition(":")
        good = len(digits) == _ALGORITHMS.get(algorithm) and re.fullmatch("[0-9a-f]+", digits) is not None
        want = "a digest such as sha256:<64 digits>"
    else:
        raise place.error("checksum requires HTTP(S) or Git sources")
    if not good:
        raise place.error(f"invalid --checksum: {shown(add.checksum)}: use {want}")


def _workdir(instruction: Workdir, words: _Words) -> Workdir:
    return instruction.replace(path=words.word(instruction.path))


def _user(instruction: User, words: _Words) -> User:
    return instruction.replace(user=words.word(instruction.user))


def _env(instruction: Env, words: _Words) -> Env:
    return instruction.replace(pairs=words.pairs(instruction.pairs))


def _label(instruction: Label, words: _Words) -> Label:
    return instruction.replace(pairs=words.pairs(instruction.pairs))


def _volume(instruction: Volume, words: _Words) -> Volume:
    paths = tuple(words.word(path) for path in instruction.paths)
    if "" in paths:
        raise words.place.error("a volume's path can not be empty")
    return instruction.replace(paths=paths)


def _stopsignal(instruction: Stopsignal, words: _Words) -> Stopsignal:
    signal = words.word(instruction.signal)
    if not is_signal(signal):
        raise words.place.error(f"invalid signal: {shown(signal)}{nearest(signal.upper(), SIGNALS, 0.8)}")
    return instruction.replace(signal=signal)


def _expose(instruction: Expose, words: _Words) -> Expose:
    ports: dict[str, None] = {}
    for text in instruction.ports:
        for port in words.words(text):
            try:
                ports.update(dict.fromkeys(expand_port(port)))
            except ValueError as error:
                raise words.place.error(f"{shown(port)}: {error}") from error
    return instruction.replace(ports=tuple(ports))


_EXPANDERS: dict[type[Instruction], Callable[[Any, _Words], Any]] = {
    From: _from,
    Copy: _transfer,
    Add: _add,
    Run: _run,
    Workdir: _workdir,
    User: _user,
    Env: _env,
    Label: _label,
    Volume: _volume,
    Stopsignal: _stopsignal,
    Expose: _expose,
}
