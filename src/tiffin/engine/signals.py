"""Signals by the names and numbers that people write."""

import _signal  # type: ignore[import-not-found] # `signal` itself turns every number into a name first

from tiffin.errors import InvalidArgument


def parse_signal(text: str) -> int:
    """ "TERM", "SIGTERM", "15", "RTMIN+3" as a number from 1 to 64. Raises InvalidArgument in Docker's words."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and 1 <= int(name) <= 64:
        return int(name)
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    if base in ("RTMIN", "RTMAX") and (not sign or offset.isdigit()):
        shift = int(offset or 0) if sign != "-" else -int(offset)
        number = int(getattr(_signal, f"SIG{base}")) + shift
        if _signal.SIGRTMIN <= number <= _signal.SIGRTMAX:
            return number
    found = getattr(_signal, f"SIG{name}", None)
    if isinstance(found, int) and not name.startswith("_"):  # SIG_DFL and the like are none
        return found
    raise InvalidArgument(f"Invalid signal: {text}")
