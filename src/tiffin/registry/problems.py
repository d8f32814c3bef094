"""What a registry says when it refuses, and the error that this is (distribution-spec, "Error Codes").

The texts are Docker's, which people search for and programs match on, with `tiffin login` in place of its own.
"""

from __future__ import annotations

import json

from tiffin.errors import (
    Corrupt,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    TiffinError,
    TransferError,
    Unauthorized,
    Unsupported,
)
from tiffin.oci.reference import shown
from tiffin.registry.origin import origin_of
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.registry.response import Response
    from tiffin.registry.transport import Transport

_BODY_MAX = 64 << 10  # bytes of an error that are read
_DENIED = "denied: requested access to the resource is denied"


class Problem(NamedTuple):
    """The first error of an answer: its code in lower case ("manifest_unknown"), its message; "" where there is
    none. Both are one printable line."""

    code: str
    message: str

    @property
    def text(self) -> str:
        """As Docker writes it: `manifest unknown: manifest unknown`."""
        words = self.code.replace("_", " ")
        return ": ".join(part for part in (words, self.message) if part)


def problem_of(response: Response) -> Problem:
    """What a registry or a token server says in the body of an answer, which is read (at most 64 KiB) and closed. Never
    raises: an unreadable body says nothing."""
    try:
        data = response.document(_BODY_MAX, "an error")
    except (LimitExceeded, TransferError):
        return Problem("", "")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return Problem("", _prose(data, response.header("content-type")))
    return _problem(document)


def _problem(document: object) -> Problem:
    if not isinstance(document, dict):
        return Problem("", "")
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else document
    if isinstance(first, str):
        return Problem("", shown(first))
    if not isinstance(first, dict):
        return Problem("", "")
    code = first.get("code") or (first.get("error") if isinstance(first.get("error"), str) else "")
    told = [first.get(key) for key in ("message", "error_description", "details", "detail")]
    message = next((text for text in told if isinstance(text, str) and text), "")
    return Problem(shown(code).lower() if isinstance(code, str) else "", shown(message))


def _prose(data: bytes, content_type: str) -> str:
    """A short plain text; a page of HTML says nothing fit for a line."""
    if "html" in content_type or data.lstrip()[:1] == b"<":
        return ""
    return shown(" ".join(data[:400].decode("utf-8", "replace").split()))


class Asking(NamedTuple):
    """What was asked, for messages: the repository's familiar name, the reference or digest ("" for neither), and
    whether it was to be changed."""

    registry: str
    name: str = ""
    reference: str = ""
    change: bool = False

    @property
    def full(self) -> str:
        """`name:tag` or `name@digest`."""
        if not self.reference:
            return self.name
        return f"{self.name}{'@' if ':' in self.reference else ':'}{self.reference}"


def refusal(
    response: Response, asking: Asking, transport: Transport, problem: Problem | None = None
) -> TiffinError:
    """The error that an answer other than the one wanted means. Reads and closes it, unless it has been read and is
    a `problem` already."""
    kind, text = _meaning(response, problem or problem_of(response), asking)
    return transport.failure(kind, text)


def _meaning(response: Response, problem: Problem, asking: Asking) -> tuple[type[TiffinError], str]:
    said, status = problem.text, response.status
    where = origin_of(response.url)
    if status == 403 or problem.code == "denied" or _out_of_scope(response):
        return PermissionDenied, _denied(asking, said)
    if status == 401:
        login = f"run 'tiffin login{_login_name(asking.registry)}'"
        return Unauthorized, f"{said or 'unauthorized: authentication required'}; {login}"
    if problem.code == "name_unknown" or (status == 404 and asking.name and not asking.reference):
        return NotFound, f"repository {asking.name} not found: {said or 'name unknown'}"
    if problem.code == "manifest_unknown" or (status == 404 and asking.reference):
        unknown = "manifest unknown" if not problem.code.startswith("blob") else "blob unknown"
        return NotFound, f"manifest for {asking.full} not found: {said or unknown}"
    if status == 429:
        return TransferError, said or "toomanyrequests: the registry wants fewer requests"
    if status == 405 or problem.code == "unsupported":
        return Unsupported, f"{where} does not support this: {said or status}"
    return _by_status(status, problem, f"{where} answered {status}" + (f": {said}" if said else ""))


def _by_status(status: int, problem: Problem, text: str) -> tuple[type[TiffinError], str]:
    if problem.code in ("digest_invalid", "size_invalid", "manifest_invalid", "blob_upload_invalid"):
        return Corrupt, text
    if problem.code in ("name_invalid", "tag_invalid"):
        return InvalidArgument, text
    if status == 413:
        return LimitExceeded, text
    return TransferError, text


def _out_of_scope(response: Response) -> bool:
    return response.status == 401 and "insufficient_scope" in response.header("www-authenticate")


def _denied(asking: Asking, said: str) -> str:
    said = said if said and not said.startswith("unauthorized") else _DENIED
    if not asking.name:
        return said
    doing = "push" if asking.change else "pull"
    return f"{doing} access denied for {asking.name}, repository does not exist or may require 'tiffin login': {said}"


def _login_name(registry: str) -> str:
    return "" if registry == "docker.io" else f" {registry}"
