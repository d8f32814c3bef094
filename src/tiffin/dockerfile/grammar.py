"""The grammar of each instruction: a `Node` of keyword, flags and text to the typed instruction.

One function an instruction, listed in `_BUILDERS`. Forms are Docker's: a JSON array where the text is one,
else words or plain text. Text that begins with `[` and is not JSON is ordinary text, as in Docker; an array
that holds anything but strings is an error.
"""

from __future__ import annotations

import re

from tiffin.dockerfile import command
from tiffin.dockerfile import instructions as typed
from tiffin.dockerfile.flags import read_flags
from tiffin.dockerfile.place import nearest, shown
from tiffin.dockerfile.shell_words import SPACE, WordError, expand, split_words
from tiffin.dockerfile.value import Value
from tiffin.errors import Unsupported
from tiffin.jsontext import loads
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.dockerfile.flags import Flags
    from tiffin.dockerfile.place import Place

NOT_IN_ONBUILD = frozenset({"ONBUILD", "FROM", "MAINTAINER"})

_MIN_INTERVAL = 1_000_000
_MAX_RETRIES = (1 << 31) - 1
_BLANK = re.compile(r"[\t\v\f\r ]+")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")


class Node(Value):
    """One instruction, split but not understood. `heredocs` are (start, end in `rest`, document)."""

    place: Place
    end_line: int
    source: str
    flags: list[str]
    rest: str
    escape: str
    heredocs: tuple[tuple[int, int, command.Heredoc], ...] = ()

    @property
    def keyword(self) -> str:
        return self.place.instruction

    @property
    def line(self) -> int:
        return self.place.line


def build(node: Node) -> typed.Instruction:
    """The typed instruction of any node but ONBUILD's, which the parser makes of its trigger's node."""
    return _BUILDERS[node.keyword](node)


def no_flags(node: Node) -> None:
    read_flags(node.flags, node.place)


def json_words(text: str, place: Place) -> tuple[str, ...] | None:
    """The strings of a JSON array, or None when `text` is not one."""
    if not text.startswith("["):
        return None
    try:
        value = _array(text)
    except (ValueError, RecursionError):
        return None
    if any(not isinstance(item, str) for item in value):
        raise place.error("a JSON array holds strings only")
    if any("\0" in item for item in value):
        raise place.error("NUL character in the JSON array")
    # A lone surrogate is no text; Docker's JSON reader makes it U+FFFD too.
    return tuple(item.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for item in value)


def _array(text: str) -> Any:
    """Raises ValueError for what is no JSON, of which Python takes some."""
    if "NaN" not in text and "Infinity" not in text:
        return loads(text)
    import json

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def _words(node: Node) -> list[str]:
    """Words at white space alone; quotes mean nothing here, as in Docker."""
    return [word for word in _BLANK.split(node.rest) if word]


def _required(node: Node) -> str:
    if not node.rest:
        raise node.place.error("requires exactly one argument")
    return node.rest


def _command(node: Node, text: str) -> command.Command:
    words = json_words(text, node.place)
    if words is not None:
        return command.Command(words, shell=False)
    if not text:
        raise node.place.error("requires at least one argument")
    return command.Command((text,), shell=True)  # noqa: S604 -- a field of that name, nothing runs here


def _from(node: Node) -> typed.From:
    flags = read_flags(node.flags, node.place, ("platform",))
    if "platform" in flags.values and not flags.text("platform"):
        raise node.place.error("--platform is empty: write it as linux/amd64, or leave it out")
    words = _words(node)
    if len(words) not in (1, 3):
        raise node.place.error("requires either one or three arguments: FROM image [AS name]")
    name = ""
    if len(words) == 3:
        if words[1].upper() != "AS":
            raise node.place.error(f"expected AS, not {shown(words[1])}")
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise node.place.error(
                f"invalid name for build stage: {shown(words[2])}: "
                "begin with a letter, then letters, digits, '-', '_' and '.'"
            )
    return typed.From(
        line=node.line,
        end_line=node.end_line,
        source=node.source,
        image=words[0],
        name=name,
        platform=flags.text("platform"),
    )


def _run(node: Node) -> typed.Run:
    flags = read_flags(node.flags, node.place, ("network", "security"), lists=("mount", "device"))
    if "device" in flags.values:
        raise Unsupported(
            f"{node.place.file}:{node.line}: RUN --device asks for devices by the name that a CDI specification gives "
            "them, and tiffin reads none; use the device in a container instead (run --device)"
        )
    line = _command(node, node.rest)
    if not line.args:
        raise node.place.error("requires at least one argument")
    documents = tuple(document for _, _, document in node.heredocs)
    alone = len(documents) == 1 and node.heredocs[0][:2] == (0, len(node.rest))
    return typed.Run(
        line=node.line,
        end_line=node.end_line,
        source=node.source,
        command=line,
        heredocs=documents,
        lone_heredoc=alone,
        mount_texts=flags.all("mount"),
        mounts=_mounts(node, flags.all("mount")),
        network=_choice(node, flags, "network", _NETWORKS),  # type: ignore[arg-type] # one of those
        security=_choice(node, flags, "security", _SECURITY),  # type: ignore[arg-type] # one of those
    )


def _choice(node: Node, flags: Flags, name: str, known: tuple[str, ...]) -> str:
    """The flag's value, "" when it was not given."""
    value = flags.text(name)
    if name in flags.values and value not in known:
        hint = nearest(value, known) or f": use {', '.join(known[:-1])} or {known[-1]}"
        raise node.place.error(f"unsupported --{name}={shown(value)}{hint}")
    return value


def _mounts(node: Node, texts: tuple[str, ...]) -> tuple[typed.RunMount, ...]:
    if not texts:
        return ()
    from tiffin.dockerfile.mount_flag import MAX_MOUNTS, read_mount  # rarer than RUN

    if len(texts) > MAX_MOUNTS:
        raise node.place.error(f"more than {MAX_MOUNTS} mounts")
    return tuple(read_mount(text, node.place, node.escape) for text in texts)


def _sources_and_dest(node: Node) -> tuple[tuple[str, ...], str]:
    """The sources that are not here-documents, and the destination."""
    words: tuple[str, ...] | None = json_words(node.rest, node.place)
    if words is None:
        parts: list[str] = []
        at = 0
        for start, end, _ in node.heredocs:
            parts.append(node.rest[at:start])
            at = end
        parts.append(node.rest[at:])
        if node.heredocs and not parts[-1].strip(SPACE):
            raise node.place.error("cannot accept a here-document as a destination")
        words = tuple(word for part in parts for word in _BLANK.split(part) if word)
    if len(words) + len(node.heredocs) < 2:
        raise node.place.error("requires at least two arguments: one or more sources and a destination")
    if "" in words[:-1]:
        raise node.place.error("a source is empty")
    return words[:-1], words[-1]


def _copy(node: Node) -> typed.Copy:
    flags = read_flags(
        node.flags, node.place, ("from", "chown", "chmod"), switches=("link", "parents"), lists=("exclude",)
    )
    sources, dest = _sources_and_dest(node)
    from_ = flags.text("from")
    if "from" in flags.values and not from_:
        raise node.place.error("--from is empty: name a stage or an image")
    if from_ and not _is_literal(from_, node.escape):
        raise node.place.error(
            "no variables in --from: begin a stage with FROM and the variable, copy from that"
        )
    if from_ and node.heredocs:
        raise node.place.error("a here-document cannot come from a stage or an image: drop --from")
    return typed.Copy(
        line=node.line,
        end_line=node.end_line,
        source=node.source,
        sources=sources,
        dest=dest,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.on("link") or False,
        exclude=flags.all("exclude"),
        parents=flags.on("parents") or False,
        heredocs=tuple(document for _, _, document in node.heredocs),
        from_=from_,
    )


def _is_literal(word: str, escape: str) -> bool:
    try:
        return expand(word, {}, escape) == word
    except WordError:
        return False


def _add(node: Node) -> typed.Add:
    flags = read_flags(
        node.flags,
        node.place,
        ("chown", "chmod", "checksum"),
        switches=("link", "keep-git-dir", "unpack"),
        lists=("exclude",),
    )
    sources, dest = _sources_and_dest(node)
    return typed.Add(
        line=node.line,
        end_line=node.end_line,
        source=node.source,
        sources=sources,
        dest=dest,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.on("link") or False,
        exclude=flags.all("exclude"),
        heredocs=tuple(document for _, _, document in node.heredocs),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.on("keep-git-dir") or False,
        unpack=flags.on("unpack"),
    )


def _workdir(node: Node) -> typed.Workdir:
    no_flags(node)
    return typed.Workdir(line=node.line, end_line=node.end_line, source=node.source, path=_required(node))


def _user(node: Node) -> typed.User:
    no_flags(node)
    return typed.User(line=node.line, end_line=node.end_line, source=node.source, user=_required(node))


def _stopsignal(node: Node) -> typed.Stopsignal:
    no_flags(node)
    return typed.Stopsignal(
        line=node.line, end_line=node.end_line, source=node.source, signal=_required(node)
    )


def _maintainer(node: Node) -> typed.Maintainer:
    no_flags(node)
    return typed.Maintainer(
        line=node.line, end_line=node.end_line, source=node.source, author=_required(node)
    )


def _pairs(node: Node) -> tuple[tuple[tuple[str, str], ...], bool]:
    """`name=value ...`, or the old form (then True): one name, white space, and all the rest as its value."""
    no_flags(node)
    words = split_words(node.rest, node.escape)
    if not words:
        raise node.place.error("requires at least one argument")
    if "=" not in words[0]:
        parts = _BLANK.split(node.rest, maxsplit=1)
        if len(parts) < 2:
            raise node.place.error(f"must have two arguments: {node.keyword} name=value")
        return ((parts[0], parts[1]),), True
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise node.place.error(f"can't find = in {shown(word)}: must be of the form name=value")
        if not name:
            raise node.place.error("names can not be blank")
        pairs.append((name, value))
    return tuple(pairs), False


def _env(node: Node) -> typed.Env:
    pairs, legacy = _pairs(node)
    return typed.Env(line=node.line, end_line=node.end_line, source=node.source, pairs=pairs, legacy=legacy)


def _label(node: Node) -> typed.Label:
    pairs, legacy = _pairs(node)
    return typed.Label(line=node.line, end_line=node.end_line, source=node.source, pairs=pairs, legacy=legacy)


def _arg(node: Node) -> typed.Arg:
    no_flags(node)
    pairs: list[tuple[str, str | None]] = []
    for word in split_words(node.rest, node.escape):
        name, equals, default = word.partition("=")
        if not name:
            raise node.place.error("names can not be blank")
        pairs.append((name, default if equals else None))
    if not pairs:
        raise node.place.error("requires at least one argument")
    return typed.Arg(line=node.line, end_line=node.end_line, source=node.source, pairs=tuple(pairs))


def _expose(node: Node) -> typed.Expose:
    no_flags(node)
    words = _words(node)
    if not words:
        raise node.place.error("requires at least one argument")
    return typed.Expose(line=node.line, end_line=node.end_line, source=node.source, ports=tuple(words))


def _volume(node: Node) -> typed.Volume:
    no_flags(node)
    array = json_words(node.rest, node.place)
    words = tuple(_words(node)) if array is None else tuple(word.strip(SPACE) for word in array)
    if not words:
        raise node.place.error("requires at least one argument")
    if "" in words:
        raise node.place.error("a volume's path can not be empty")
    return typed.Volume(line=node.line, end_line=node.end_line, source=node.source, paths=words)


def _shell(node: Node) -> typed.Shell:
    no_flags(node)
    words = json_words(node.rest, node.place)
    if words is None and node.rest:
        raise node.place.error('requires the JSON form: SHELL ["executable", "parameter"]')
    if not words:
        raise node.place.error("requires at least one argument")
    return typed.Shell(line=node.line, end_line=node.end_line, source=node.source, argv=words)


def _cmd(node: Node) -> typed.Cmd:
    no_flags(node)
    line = _command(node, node.rest)
    return typed.Cmd(line=node.line, end_line=node.end_line, source=node.source, command=line)


def _entrypoint(node: Node) -> typed.Entrypoint:
    no_flags(node)
    line = _command(node, node.rest)
    return typed.Entrypoint(line=node.line, end_line=node.end_line, source=node.source, command=line)


def _healthcheck(node: Node) -> typed.Healthcheck:
    names = ("interval", "timeout", "start-period", "start-interval", "retries")
    flags = read_flags(node.flags, node.place, names)
    kind, text = (*_BLANK.split(node.rest, maxsplit=1), "")[:2]
    if not kind:
        raise node.place.error("requires at least one argument: CMD and a command, or NONE")
    durations = {name: _interval(node, name, flags.text(name)) for name in names[:-1]}
    retries = _retries(node, flags.text("retries"))
    test: tuple[str, ...]
    if kind.upper() == "NONE":
        if text:
            raise node.place.error("NONE takes no arguments")
        return typed.Healthcheck(line=node.line, end_line=node.end_line, source=node.source, test=("NONE",))
    if kind.upper() != "CMD":
        raise node.place.error(f"unknown type {shown(kind)}{nearest(kind.upper(), ('CMD', 'NONE'))}: try CMD")
    array = json_words(text, node.place)
    test = ("CMD-SHELL", text) if array is None else ("CMD", *array)
    if not text or array == ():
        raise node.place.error("missing command after HEALTHCHECK CMD")
    return typed.Healthcheck(
        line=node.line,
        end_line=node.end_line,
        source=node.source,
        test=test,
        interval=durations["interval"],
        timeout=durations["timeout"],
        start_period=durations["start-period"],
        start_interval=durations["start-interval"],
        retries=retries,
    )


def _interval(node: Node, name: str, text: str) -> int:
    if not text:
        return 0
    try:
        from tiffin.dockerfile.durations import parse_duration  # HEALTHCHECK is rare

        value = parse_duration(text)
    except ValueError as error:
        raise node.place.error(f"--{name}={shown(text)}: {error}") from error
    if value and value < _MIN_INTERVAL:
        raise node.place.error(f"--{name}={shown(text)}: cannot be less than 1ms")
    return value


def _retries(node: Node, text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or int(text) > _MAX_RETRIES:
        raise node.place.error(f"--retries={shown(text)}: not a number")
    if int(text) < 0:
        raise node.place.error(f"--retries={shown(text)}: cannot be negative")
    return int(text)


_BUILDERS: dict[str, Callable[[Node], typed.Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}

KEYWORDS = (*sorted(_BUILDERS), "ONBUILD")
