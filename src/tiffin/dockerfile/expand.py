"""Evaluating the words of an instruction: the one call that the builder makes before it acts on one.

    expand(instruction, env) -> the same kind of instruction, its words final

`env` is the environment at that place of the stage: the image's and stage's ENV, and the ARGs in force. For
FROM it is the global ARGs. Expand an instruction once: what a variable held is not evaluated again. What can
only be checked with final words is checked here (ports, signals, destinations), with file, line and
instruction in the error.
"""

from __future__ import annotations

import re

from tiffin.dockerfile import shell_words
from tiffin.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    From,
    Heredoc,
    Instruction,
    Label,
    Stopsignal,
    Transfer,
    User,
    Volume,
    Workdir,
)
from tiffin.dockerfile.place import Place, shown
from tiffin.dockerfile.ports import expand_port
from tiffin.dockerfile.shell_words import DEFAULT_ESCAPE, WordError
from tiffin.dockerfile.signals import is_signal
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    AnyInstruction = TypeVar("AnyInstruction", bound=Instruction)

_URL = re.compile(r"(https?|ftp|git|ssh)://|git@[^/]+:", re.IGNORECASE)
_OCTAL = re.compile("[0-7]{1,4}|0[0-7]{4}")
_SYMBOLIC = re.compile(r"[ugoa]*[-+=][ugorwxXst]*(,[ugoa]*[-+=][ugorwxXst]*)*")


class _Words:
    """The shell lexer bound to one place and environment."""

    def __init__(self, place: Place, env: Mapping[str, str], escape: str) -> None:
        self.place, self._env, self._escape = place, env, escape

    def word(self, word: str) -> str:
        try:
            return shell_words.expand(word, self._env, self._escape)
        except WordError as error:
            raise self._refused(word, error) from error

    def words(self, text: str) -> list[str]:
        try:
            return shell_words.expand_words(text, self._env, self._escape)
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
    which knows what was given; here its defaults are taken. Raises DockerfileError, and Unsupported for an
    ADD from the network.
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
    scope = dict(env)
    resolved: list[tuple[str, str | None]] = []
    for name, default in arg.pairs:
        value = given.get(name)
        if value is None and default is not None:
            value = _Words(place, scope, escape).word(default)
        elif value is None:
            value = inherited.get(name)
        if value is not None:
            scope[name] = value
        resolved.append((name, value))
    return tuple(resolved)


def _from(instruction: From, words: _Words) -> From:
    image = words.word(instruction.image)
    if not image:
        raise words.place.error(f"base name ({shown(instruction.image)}) should not be blank")
    return instruction.replace(image=image)


def _transfer(instruction: Transfer, words: _Words) -> Transfer:
    result = instruction.replace(
        sources=tuple(words.word(source) for source in instruction.sources),
        dest=words.word(instruction.dest),
        chown=words.word(instruction.chown),
        chmod=words.word(instruction.chmod),
        heredocs=tuple(words.document(document) for document in instruction.heredocs),
    )
    _check_transfer(result, words.place)
    return result


def _check_transfer(transfer: Transfer, place: Place) -> None:
    if "" in transfer.sources:
        raise place.error("a source is empty after its variables were replaced")
    many = len(transfer.sources) + len(transfer.heredocs) > 1
    if (
        many
        and transfer.dest
        and not transfer.dest.endswith("/")
        and not re.search(r"(^|/)\.\.?$", transfer.dest)
    ):
        raise place.error("with more than one source the destination must be a directory and end with a /")
    for source in transfer.sources:
        if isinstance(transfer, Copy) and not transfer.from_ and re.match("https?://", source, re.IGNORECASE):
            raise place.error(f"source can't be a URL for COPY: {shown(source)}")
        if isinstance(transfer, Add) and _URL.match(source):
            raise place.lacking("ADD of a URL or git repository")
    if transfer.chmod and not _OCTAL.fullmatch(transfer.chmod):
        if _SYMBOLIC.fullmatch(transfer.chmod):
            raise place.lacking(f"a symbolic mode in {place.instruction} --chmod")
        raise place.error(f"invalid --chmod: {shown(transfer.chmod)}: use octal digits such as 0755")


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
        raise words.place.error(f"invalid signal: {shown(signal)}")
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
    Add: _transfer,
    Workdir: _workdir,
    User: _user,
    Env: _env,
    Label: _label,
    Volume: _volume,
    Stopsignal: _stopsignal,
    Expose: _expose,
}
