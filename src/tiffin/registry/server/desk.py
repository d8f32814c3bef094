"""What the endpoints share: the shelf, the threads that work on it, limits, and bodies read to their bounded end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from tiffin.errors import TiffinError
from tiffin.oci.digest import is_digest
from tiffin.registry.server.errors import Refusal, refusal_of
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager
    from typing import ParamSpec, TypeVar

    from aiohttp import web

    from tiffin.registry.server.shelf import Shelf

    P = ParamSpec("P")
    T = TypeVar("T")

STALL_SECONDS = 60.0  # without a byte of a body
_BATCH = 1 << 20
_RECEIVING_AT_ONCE = 2  # manifests whose layers are being unpacked

HEADERS = {
    "Docker-Distribution-API-Version": "registry/2.0",
    "Server": "tiffin",
    "X-Content-Type-Options": "nosniff",
}  # of every answer


class Limits(NamedTuple):
    """What the operator allows. `blob_max` in bytes."""

    read_only: bool = False
    blob_max: int = 64 << 30


class Desk:
    """See the module. Belongs to one event loop. `serving` is entered for as long as a connection is at work for a
    request."""

    def __init__(
        self,
        shelf: "Shelf",
        limits: Limits,
        pool: "Executor",
        serving: "Callable[[web.BaseRequest], AbstractContextManager[None]]",
    ) -> None:
        self.shelf = shelf
        self.limits = limits
        self.serving = serving
        self.unpacking = asyncio.Semaphore(_RECEIVING_AT_ONCE)
        self._pool = pool

    async def run(self, work: "Callable[P, T]", /, *args: "P.args", **named: "P.kwargs") -> "T":
        """`work` in a thread, to its end: a client that goes away does not leave it behind half done."""
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._pool, lambda: work(*args, **named))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])
            raise


class Call(NamedTuple):
    """One request to an endpoint: `name` is the repository, `word` the last part of the path (a tag, a digest, the id
    of an upload), "" where the endpoint has none. The name is checked, the word is not."""

    desk: Desk
    request: "web.BaseRequest"
    name: str = ""
    word: str = ""


@contextmanager
def refusing(missing: str, broken: str = "UNKNOWN") -> Iterator[None]:
    """Errors of the shelf within become refusals with these codes."""
    try:
        yield
    except TiffinError as error:
        raise refusal_of(error, missing, broken) from error


def checked_digest(text: str | None) -> str:
    """A digest as it stands in a request. Raises Refusal."""
    if text is None or not is_digest(text):
        raise Refusal(400, "DIGEST_INVALID", "want a digest: sha256: and 64 hexadecimal digits")
    return text


async def pieces(request: "web.BaseRequest", limit: int) -> AsyncIterator[list[bytes]]:
    """The body, about a MiB at a time; what came before a failure is given before it is raised. Raises Refusal when it
    has more than `limit` bytes or stalls, ConnectionError when it breaks off."""
    stated = request.content_length
    if stated is not None and stated > limit:
        raise _too_long(limit)
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    total, held, ended = 0, 0, False
    batch: list[bytes] = []
    while not ended:
        failure: Exception | None = None
        try:
            async with asyncio.timeout(STALL_SECONDS):
                data = await request.content.readany()
        except Exception as error:  # noqa: BLE001 - raised again below
            data, failure = b"", error
        total += len(data)
        if total > limit:
            raise _too_long(limit)
        if data:
            batch.append(data)
            held += len(data)
        ended = failure is not None or (not data and request.content.at_eof())
        if batch and (held >= _BATCH or ended):
            yield batch
            batch, held = [], 0
        if failure is not None:
            raise _broken(failure) from failure
    if stated is not None and total != stated:
        raise ConnectionResetError(f"{total} of {stated} bytes arrived")


def _broken(failure: Exception) -> Exception:
    if isinstance(failure, TimeoutError):
        what = f"no byte for {STALL_SECONDS:.0f} seconds"
        return Refusal(408, "BLOB_UPLOAD_INVALID", what, {"Connection": "close"})
    return ConnectionResetError(str(failure))


def _too_long(limit: int) -> Refusal:
    return Refusal(413, "SIZE_INVALID", f"more than {limit} bytes", {"Connection": "close"})
