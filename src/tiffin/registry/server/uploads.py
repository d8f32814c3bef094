"""Uploads (distribution-spec, "Pushing blobs"): in one request, in pieces, or mounted from where the blob is already.

An upload that breaks off keeps what has arrived: its status says how much, and the next PATCH goes on there. One that
is left alone is dropped after IDLE_SECONDS.
"""

import asyncio
import os
import re
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from tiffin.errors import LimitExceeded, NotFound
from tiffin.registry.server.desk import STALL_SECONDS, Call, Desk, checked_digest, pieces, refusing
from tiffin.registry.server.errors import Refusal, busy
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tiffin.registry.server.shelf import Upload

UPLOADS_MAX = 256
IDLE_SECONDS = 3600.0

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:\*|[0-9]{1,18}))?")


class Open:
    """One upload under way."""

    def __init__(self, name: str, upload: "Upload", now: float) -> None:
        self.name = name
        self.upload = upload
        self.turn = asyncio.Lock()
        self.touched = now


class Uploads:
    """Those under way, by id. Belongs to one event loop."""

    def __init__(self, desk: Desk, clock: "Callable[[], float]" = time.monotonic) -> None:
        self._desk = desk
        self._clock = clock
        self._open: dict[str, Open] = {}

    # -- endpoints -------------------------------------------------------------------------------------------

    async def post(self, call: Call) -> web.StreamResponse:
        """POST /blobs/uploads/: mount, all at once, or begin."""
        desk, request, name, _ = call
        query = request.query
        if "mount" in query and await self._mount(checked_digest(query["mount"])):
            return _created(name, query["mount"])
        digest = checked_digest(query["digest"]) if "digest" in query else ""
        if len(self._open) >= UPLOADS_MAX:
            raise busy(f"{UPLOADS_MAX} uploads are under way")
        upload_id = os.urandom(16).hex()
        self._open[upload_id] = found = Open(name, await desk.run(desk.shelf.begin), self._clock())
        if not digest:
            return _accepted(202, name, upload_id, found)
        try:
            async with found.turn:
                await self._receive(request, found)
                return await self._finish(upload_id, found, digest)
        except BaseException:
            await self._drop(upload_id)  # nobody knows its id
            raise

    async def _mount(self, digest: str) -> bool:
        """Whether the blob is here; then it stays for its manifest. All repositories share one store."""
        try:
            await self._desk.run(self._desk.shelf.blob_size, digest, True)
        except NotFound:
            return False
        return True

    async def patch(self, call: Call) -> web.StreamResponse:
        """PATCH: the next piece."""
        async with self._turn(call) as found:
            await self._receive(call.request, found, call.word)
            return _accepted(202, call.name, call.word, found)

    async def put(self, call: Call) -> web.StreamResponse:
        """PUT: the last piece, or none, and the digest."""
        digest = checked_digest(call.request.query.get("digest"))
        async with self._turn(call) as found:
            await self._receive(call.request, found, call.word)
            return await self._finish(call.word, found, digest)

    async def status(self, call: Call) -> web.StreamResponse:
        """GET: how far it has come."""
        async with self._turn(call) as found:
            return _accepted(204, call.name, call.word, found)

    async def cancel(self, call: Call) -> web.StreamResponse:
        """DELETE: forget it."""
        async with self._turn(call):
            await self._drop(call.word)
            return web.Response(status=204)

    # -- within ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, call: Call) -> "AsyncIterator[Open]":
        """The upload, for one request at a time: one that broke off may not have noticed yet."""
        found = self._find(call)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await found.turn.acquire()
        except TimeoutError as error:
            raise busy("another request is sending this upload") from error
        try:
            self._find(call)  # finished meanwhile?
            yield found
        finally:
            found.touched = self._clock()
            found.turn.release()

    def _find(self, call: Call) -> Open:
        found = self._open.get(call.word)
        if found is None or found.name != call.name:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload; begin again")
        return found

    async def _receive(self, request: web.BaseRequest, found: Open, upload_id: str = "") -> None:
        """Append the request's body: writing one piece while the next arrives. A body that breaks off leaves what has
        arrived; one that is not what its headers say leaves nothing."""
        upload, run = found.upload, self._desk.run
        stated = _stated(request, found, upload_id)
        before = upload.mark()
        room = self._desk.limits.blob_max - upload.offset
        writing: asyncio.Future[None] | None = None
        with refusing("BLOB_UPLOAD_UNKNOWN"):
            try:
                async for batch in pieces(request, room):
                    if writing is not None:
                        await writing
                    writing = asyncio.ensure_future(run(upload.write, batch))
                    found.touched = self._clock()
                if writing is not None:
                    await writing
            finally:
                if writing is not None and not writing.done():
                    await asyncio.wait([writing])
        if stated is not None and upload.offset - before.offset != stated:
            got = upload.offset - before.offset
            await run(upload.back, before)
            raise Refusal(400, "SIZE_INVALID", f"Content-Range states {stated} bytes, {got} came")

    async def _finish(self, upload_id: str, found: Open, digest: str) -> web.StreamResponse:
        self._open.pop(upload_id, None)
        try:
            with refusing("BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID"):
                await self._desk.run(found.upload.finish, digest)
        except Refusal as refusal:
            if isinstance(refusal.__cause__, LimitExceeded):
                raise busy(refusal.message) from refusal
            raise
        return _created(found.name, digest)

    async def _drop(self, upload_id: str) -> None:
        found = self._open.pop(upload_id, None)
        if found is not None:
            await self._desk.run(found.upload.discard)

    async def expire(self) -> None:
        """Drop those that nobody goes on with."""
        for upload_id, found in self._idle():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01), found.turn:
                    await self._drop(upload_id)

    def _idle(self) -> Iterator[tuple[str, Open]]:
        end = self._clock() - IDLE_SECONDS
        return iter([(upload_id, found) for upload_id, found in self._open.items() if found.touched < end])


def _stated(request: web.BaseRequest, found: Open, upload_id: str) -> int | None:
    """How many bytes Content-Range says that the body has. Raises Refusal when it does not go on where we are."""
    text = request.headers.get("Content-Range")
    if text is None:
        return None
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        raise Refusal(400, "SIZE_INVALID", "want a Content-Range of the form FIRST-LAST")
    first, last = int(match[1]), int(match[2])
    if first != found.upload.offset or last < first:
        headers = dict(_accepted(416, found.name, upload_id, found).headers)
        raise Refusal(416, "RANGE_INVALID", f"the upload goes on at {found.upload.offset}", headers)
    length = last - first + 1
    if request.content_length is not None and request.content_length != length:
        raise Refusal(400, "SIZE_INVALID", "Content-Range and Content-Length disagree")
    return length


def _accepted(status: int, name: str, upload_id: str, found: Open) -> web.Response:
    headers = {
        "Location": f"/v2/{name}/blobs/uploads/{upload_id}",
        "Range": f"0-{max(found.upload.offset - 1, 0)}",
        "Docker-Upload-UUID": upload_id,
        "OCI-Chunk-Min-Length": "1",
    }
    return web.Response(status=status, headers=headers)


def _created(name: str, digest: str) -> web.Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)
