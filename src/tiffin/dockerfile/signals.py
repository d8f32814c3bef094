"""The signal names that STOPSIGNAL takes: Linux's, with or without SIG, and the numbers."""

from __future__ import annotations

_NAMES = frozenset({
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
})  # fmt: skip
SIGNALS = tuple(sorted(f"SIG{name}" for name in _NAMES))
_LAST_OFFSET = {"RTMIN+": 15, "RTMAX-": 14}
MAX_SIGNAL = 64


def is_signal(text: str) -> bool:
    """Whether `text` names a signal of Linux."""
    if _is_number(text):
        return len(text) <= 3 and 1 <= int(text) <= MAX_SIGNAL
    name = text.upper().removeprefix("SIG")
    offset = name[6:]
    if name[:6] in _LAST_OFFSET and _is_number(offset) and len(offset) <= 2 and offset[0] != "0":
        return int(offset) <= _LAST_OFFSET[name[:6]]
    return name in _NAMES


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
