"""Refusals in the form of the specification (distribution-spec, "Error Codes"): a status and a JSON list of errors."""

import json

from aiohttp import web

from tiffin import errors
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Refusal(Exception):
    """What a handler raises to answer with an error. `code` is the specification's."""

    def __init__(
        self, status: int, code: str, message: str, headers: "Mapping[str, str] | None" = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})

    def response(self) -> web.Response:
        """The answer; control characters in it are escaped by JSON."""
        body = {"errors": [{"code": self.code, "message": self.message, "detail": None}]}
        return web.Response(
            status=self.status,
            headers={"Content-Type": "application/json", **self.headers},
            body=json.dumps(body).encode(),
        )


def refusal_of(error: errors.TiffinError, missing: str = "NAME_UNKNOWN", broken: str = "UNKNOWN") -> Refusal:
    """What an error of the shelf means to the client: `missing` and `broken` are the codes of NotFound and Corrupt in
    the place where it was raised. What is wrong with this machine keeps its details to itself."""
    text = str(error)
    if isinstance(error, errors.NotFound):
        return Refusal(400 if missing == "MANIFEST_BLOB_UNKNOWN" else 404, missing, text)
    if isinstance(error, errors.Corrupt | errors.InvalidArgument | errors.Unsupported):
        return Refusal(400, broken, text)
    if isinstance(error, errors.LimitExceeded):
        return Refusal(413, "SIZE_INVALID", text)
    if isinstance(error, errors.Conflict):
        return Refusal(409, "DENIED", text)
    if isinstance(error, errors.NoSpace):
        return Refusal(507, "TOOMANYREQUESTS", "the registry's disk is full")
    return Refusal(500, "UNKNOWN", "the registry failed; its operator sees why")


def busy(what: str) -> Refusal:
    """Too much at once."""
    return Refusal(429, "TOOMANYREQUESTS", what, {"Retry-After": "5"})
