"""The one sink that every text about a registry goes through before anybody reads it (T18).

    redact = Redactor()
    redact.learn(password)            # whatever is sent as a secret is learnt first
    redact("GET https://u:p@host/v2/?token=abc")   →   "GET https://<redacted>@host/v2/?token=<redacted>"

Two nets, because each has holes: the secrets that were learnt, in each form in which they travel, and the places
where secrets stand (userinfo, headers, query parameters, JSON members), whatever their value.
"""

from __future__ import annotations

import re

HIDDEN = "<redacted>"
_SHORTEST = 4  # characters: a shorter "secret" would blot out half of every text
_LEARNT_MAX = 512

_NAMES = (
    r"(?:[a-z0-9_-]{0,40}(?:token|password|passwd|secret|signature|credential|assertion|api[_-]?key)"
    r"|x-amz-[a-z-]+|x-goog-[a-z-]+|authorization|auth|sig|se|sp|sv|policy|key-pair-id|awsaccesskeyid|code|jwt)"
)
_PATTERNS = (
    (r"(?i)\b([a-z][a-z0-9+.-]{0,15}://)[^\s/?#@\"'<>]{0,1024}@", rf"\1{HIDDEN}@"),
    (rf"(?i)([?&;]{_NAMES}=)[^\s&;\"'<>#]+", rf"\1{HIDDEN}"),
    (r"(?i)\b((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?)(?!<redacted>)[^\r\n\"']+", rf"\1{HIDDEN}"),
    (r"(?i)\b((?:set-)?cookie['\"]?\s*[:=]\s*['\"]?)[^\r\n\"']+", rf"\1{HIDDEN}"),
    (r"(?i)\b(bearer|basic)\s+(?!realm|auth|token)[a-z0-9._~+/=-]{6,}", rf"\1 {HIDDEN}"),
    (rf"(?i)([\"']{_NAMES}[\"']\s*:\s*[\"'])[^\"']*", rf"\1{HIDDEN}"),
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*", HIDDEN),  # a JWT, wherever it stands
)


def redact(text: str) -> str:
    """`text` without what stands where secrets stand. For texts about one registry, its `Redactor` knows more."""
    for pattern, replacement in _PATTERNS:
        text = re.sub(pattern, replacement, text)
    return text


class Redactor:
    """`redact` that also knows the secrets in use. Safe to call from many threads."""

    def __init__(self) -> None:
        self._learnt: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._learnt)} secrets>"

    def learn(self, *secrets: str) -> None:
        """Never show these again: as they are, percent-encoded, or in base64 inside of a basic header."""
        from urllib.parse import quote, quote_plus

        for secret in secrets:
            if len(secret) >= _SHORTEST:
                for form in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}:
                    self._learnt[form] = None
        while len(self._learnt) > _LEARNT_MAX:  # tokens live for minutes; the oldest have expired
            self._learnt.pop(next(iter(self._learnt)), None)

    def __call__(self, text: str) -> str:
        for secret in sorted(self._learnt.copy(), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return redact(text)
