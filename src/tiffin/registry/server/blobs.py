"""Blobs, read and removed (distribution-spec, "Pulling blobs", "Deleting Blobs")."""

import os
from contextlib import AbstractContextManager

from aiohttp import web

from tiffin.errors import Conflict
from tiffin.registry.server.desk import Call, checked_digest, refusing
from tiffin.registry.server.errors import Refusal
from tiffin.typed import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter

    Serving = Callable[[web.BaseRequest], AbstractContextManager[None]]

_FOREVER = "max-age=31536000, immutable"


class OpenFileResponse(web.FileResponse):
    """An open file, whole or the range asked for, sent by the kernel. `serving` is entered while it is sent: that is
    after the handler has returned."""

    def __init__(self, file: BinaryIO, headers: dict[str, str], serving: "Serving") -> None:
        # By descriptor, so that what was found is what is sent, even if the blob is removed in between.
        super().__init__(f"/proc/self/fd/{file.fileno()}", headers=headers)
        self._file = file
        self._serving = serving

    async def prepare(self, request: web.BaseRequest) -> "AbstractStreamWriter | None":
        with self._file, self._serving(request):
            return await super().prepare(request)


async def get(call: Call) -> web.StreamResponse:
    """GET and HEAD. A writer that finds a blob here will not send it, so HEAD holds it for a while."""
    desk, digest = call.desk, checked_digest(call.word)
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "Cache-Control": _FOREVER,
    }
    with refusing("BLOB_UNKNOWN"):
        if call.request.method == "HEAD":
            size = await desk.run(desk.shelf.blob_size, digest, not desk.limits.read_only)
            return web.Response(headers=headers | {"Content-Length": str(size), "Accept-Ranges": "bytes"})
        file = await desk.run(desk.shelf.open_blob, digest)
    try:
        _check_range(call.request, os.fstat(file.fileno()).st_size)
        return OpenFileResponse(file, headers, desk.serving)
    except BaseException:
        file.close()
        raise


def _check_range(request: web.BaseRequest, size: int) -> None:
    try:
        start = request.http_range.start
    except ValueError:
        start = size
    if start is not None and start >= max(size, 1):
        raise Refusal(
            416, "RANGE_INVALID", f"the blob has {size} bytes", {"Content-Range": f"bytes */{size}"}
        )


async def delete(call: Call) -> web.StreamResponse:
    """DELETE. What a manifest needs stays: 405, as where deleting is switched off."""
    desk, digest = call.desk, checked_digest(call.word)
    with refusing("BLOB_UNKNOWN"):
        try:
            await desk.run(desk.shelf.delete_blob, digest)
        except Conflict as error:
            raise Refusal(405, "UNSUPPORTED", str(error)) from error
    return web.Response(status=202)
