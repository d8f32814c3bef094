"""The grammar of WWW-Authenticate and Link headers (RFC 9110, section 11.6.1; RFC 8288, section 3).

Both come from outside, several values to a header, with quoted strings that hold the separators. Bounded in length
and number; what cannot be read ends the list rather than raising, as a browser would have it.
"""

from __future__ import annotations

import re

from tiffin.typed import NamedTuple

HEADER_MAX = 16 << 10  # characters
_VALUES_MAX = 16  # challenges or links in one header
_PARAMS_MAX = 32

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAM = rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*))'


class Challenge(NamedTuple):
    """One way to authenticate: `scheme` in lower case; parameters by lower-case name, the first of each counts."""

    scheme: str
    params: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header, or of several joined by commas; at most 16, with 32 parameters."""
    text, position = header[:HEADER_MAX], 0
    found: list[Challenge] = []
    param, scheme, blank = re.compile(_PARAM, re.S), re.compile(_WORD), re.compile(r"[\s,]*")
    while len(found) < _VALUES_MAX:
        position = _end(blank, text, position)
        match = scheme.match(text, position)
        if match is None:
            return found
        challenge = Challenge(match[0].lower(), {})
        found.append(challenge)
        position = _end(re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)"), text, match.end())  # token68
        while len(challenge.params) < _PARAMS_MAX:
            match = param.match(text, _end(blank, text, position))
            if match is None:
                break
            challenge.params.setdefault(match[1].lower(), _value(match))
            position = match.end()
    return found


def parse_link(header: str, relation: str) -> str:
    """The target of the first link of `relation` (such as "next") in a Link header; "" when there is none."""
    text, position = header[:HEADER_MAX], 0
    target, param = re.compile(r"[\s,]*<([^<>]*)>"), re.compile(rf"[ \t]*;[ \t]*(?:{_PARAM})?", re.S)
    for _ in range(_VALUES_MAX):
        match = target.match(text, position)
        if match is None:
            return ""
        found, relations, position = match[1].strip(), "", match.end()
        for _ in range(_PARAMS_MAX):
            match = param.match(text, position)
            if match is None:
                break
            if match[1] and match[1].lower() == "rel" and not relations:
                relations = _value(match)
            position = match.end()
        if relation in relations.lower().split():
            return found
    return ""


def _value(match: re.Match[str]) -> str:
    quoted: str | None = match[2]
    return match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.S)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()
