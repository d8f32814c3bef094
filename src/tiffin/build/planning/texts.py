"""Instructions as an image's history shows them: worded as BuildKit does, with their variables replaced, so that
whoever reads the history of images reads these too. It signs its entries ("# buildkit", a comment); tiffin does
not, and claims to be nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tiffin.build.planning.config import Config
from tiffin.dockerfile.durations import format_duration
from tiffin.dockerfile.instructions import (
    Add,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    Stopsignal,
    Transfer,
    User,
    Volume,
)

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def settings_text(instruction: Instruction, config: Config) -> str:
    """An instruction that changes the config alone; "" for what has no entry. `config` is what came of it."""
    match instruction:
        case Env(pairs=pairs) | Label(pairs=pairs):
            words = " ".join(f"{name}={value}" for name, value in pairs)
        case Cmd():
            words = _quoted(config.get("Cmd"))
        case Entrypoint():
            words = _quoted(config.get("Entrypoint"))
        case Expose(ports=found) | Volume(paths=found) | Shell(argv=found):
            words = f"[{' '.join(found)}]"
        case User(user=word) | Stopsignal(signal=word) | Maintainer(author=word):
            words = word
        case Healthcheck():
            words = _healthcheck(instruction)
        case Onbuild():
            return ""
        case _:
            return instruction.source
    return f"{instruction.keyword} {words}"


def arg_text(found: Sequence[tuple[str, str | None]]) -> str:
    """ARG, with what its arguments came to."""
    return " ".join(["ARG", *(name if value is None else f"{name}={value}" for name, value in found)])


def run_text(argv: Sequence[str], args: Mapping[str, str]) -> str:
    """RUN, with all arguments that it could see: `|2 a=1 b= /bin/sh -c ...`."""
    shown = [f"|{len(args)}", *(f"{name}={value}" for name, value in args.items())] if args else []
    return " ".join(["RUN", *shown, *argv])


def transfer_text(copy: Transfer) -> str:
    """COPY or ADD: of its flags those that say what the files look like."""
    flags = ["--parents"] * copy.parents
    flags += [f"--{name}={value}" for name, value in (("chown", copy.chown), ("chmod", copy.chmod)) if value]
    documents = (f"<<{document.name}" for document in copy.heredocs)
    text = " ".join([copy.keyword, *flags, *copy.sources, *documents, copy.dest])
    return _redacted(text) if isinstance(copy, Add) else text


def without_secrets(copy: Transfer) -> str:
    """The instruction as it is written, for who watches."""
    return _redacted(copy.source) if isinstance(copy, Add) else copy.source


def _redacted(text: str) -> str:
    """A URL's user and tokens are nobody's business."""
    if "://" not in text:
        return text
    from tiffin.registry.redact import redact

    return redact(text)


def _healthcheck(check: Healthcheck) -> str:
    numbers = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    times = " ".join(f"{name}:{format_duration(value)}" for name, value in numbers.items())
    return f"{{Test:[{' '.join(check.test)}] {times} Retries:{check.retries}}}"


def _quoted(words: Sequence[str] | None) -> str:
    """`["a" "b"]`: Go's %q of a list."""
    return f"[{' '.join(map(_quote, words or ()))}]"


def _quote(word: str) -> str:
    return f'"{"".join(map(_escaped, word))}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if char.isprintable():
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
