"""Go's durations (`1h30m`, `1.5s`, `300ms`), as HEALTHCHECK writes them."""

from __future__ import annotations

import re

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]{0,20})(?:\.([0-9]{0,20}))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_MAX = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """Nanoseconds, rounded towards zero. Raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0
    total = 0
    at = 0
    while at < len(body):
        part = _PART.match(body, at)
        if part is None or not (part[1] or part[2]):
            raise ValueError("not a duration: write it as 30s, 1m30s or 500ms")
        fraction = part[2] or ""
        total += int((part[1] or "0") + fraction) * _UNITS[part[3]] // 10 ** len(fraction)
        if total > _MAX:
            raise ValueError("duration too long")
        at = part.end()
    if not at:
        raise ValueError("empty duration")
    return sign * total


def format_duration(nanoseconds: int) -> str:
    """As Go prints it: `1h0m0s`, `1m30s`, `1.5s`, `300ms`, `0s`. Not for negative ones."""
    for unit in ("ns", "\u00b5s", "ms"):
        if 0 < nanoseconds < 1000 * _UNITS[unit]:
            return _decimal(nanoseconds, _UNITS[unit]) + unit
    minutes, rest = divmod(nanoseconds, _UNITS["m"])
    seconds = _decimal(rest, _UNITS["s"]) + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0") if rest else str(whole)
