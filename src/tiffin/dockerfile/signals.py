"""The signal names that STOPSIGNAL takes: Linux's, with or without SIG, and the numbers."""

from __future__ import annotations

import re

_NAME = re.compile(
    r"""ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM
    |TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ
    |RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?""",
    re.VERBOSE,
)
MAX_SIGNAL = 64


def is_signal(text: str) -> bool:
    """Whether `text` names a signal of Linux."""
    if re.fullmatch("[0-9]{1,3}", text):
        return 1 <= int(text) <= MAX_SIGNAL
    return _NAME.fullmatch(text.upper().removeprefix("SIG")) is not None
