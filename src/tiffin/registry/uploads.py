"""One blob on its way to a registry (distribution-spec, "Pushing blobs").

    POST uploads/?mount=&from=   → 201 it is there now            (`mount`)
    POST uploads/                → 202 Location                   an upload begins
    PUT  LOCATION?digest=        → 201 with the whole body        when nothing speaks against it
    PATCH LOCATION, Content-Range → 202 Range: 0-N, Location      piece by piece, where the registry asks for it, or
    PUT  LOCATION?digest=        → 201                            to go on where the whole broke off
    GET  LOCATION                → 204 Range: 0-N                 how much is there?
    DELETE LOCATION                                               given up

A Location may be anywhere; another origin gets the bytes but never our Authorization (T14).
"""

from __future__ import annotations

import re

from tiffin.errors import Corrupt, EngineError, TiffinError, TransferError
from tiffin.oci.reference import shown
from tiffin.registry import scopes
from tiffin.registry.problems import Asking, refusal
from tiffin.registry.response import BrokenOff, Unreachable
from tiffin.registry.waiting import backoff, is_transient
from tiffin.typed import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiffin.oci.descriptor import Descriptor
    from tiffin.registry.auth import Session
    from tiffin.registry.response import Response

PIECE_SENT = 256 << 10  # bytes; each must be taken within the stall timeout
CHUNK = 16 << 20  # bytes of one PATCH
_CHUNK_LEAST = 512 << 10
_TRIES_WITHOUT_PROGRESS = 5
_RESUMES_MAX = 100
_PROGRESS = 64 << 10  # bytes that count as such: a registry that takes one byte at a time has an end
_COMMIT_PATIENCE = 10
_DONE = frozenset({200, 201, 204})
_NOT_WHOLE = frozenset({400, 404, 405, 411, 413, 415, 416, 501})  # "not like that": in pieces it may do


class Readable(Protocol):
    """What `open_at` gives: an open file, or anything that reads and closes like one."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


if TYPE_CHECKING:
    OpenAt = Callable[[int], Readable]


class Upload:
    """One upload of `descriptor` to the repository `path`. Left without `send`, nothing was begun that `mount` did
    not end."""

    def __init__(self, session: Session, path: str, descriptor: Descriptor, asking: Asking) -> None:
        self._session = session
        self._transport = session.transport
        self._path = path
        self._descriptor = descriptor
        self._asking = asking
        self._scope = scopes.repository(path, "pull", "push")
        self._location = ""
        self._offset = 0  # bytes that the registry has
        self._chunk = CHUNK
        self._in_pieces = self._lost = False
        self._disputed = False  # the registry found that other bytes came

    def mount(self, source: str) -> bool:
        """Whether the registry took the blob from its repository `source`. One that cannot begins an upload instead,
        which `send` goes on with."""
        from urllib.parse import urlencode

        query = urlencode({"mount": self._descriptor.digest, "from": source})
        scope = self._scope | scopes.repository(source, "pull")
        with self._session.request("POST", f"{self._uploads}?{query}", scope) as response:
            if response.status == 201:
                self.cancel()
                return True
            if response.status == 202:
                self.cancel()  # what an earlier attempt began
                self._begun(response)
        return False

    def send(self, open_at: OpenAt, progress: Callable[[int], None] | None) -> None:
        """Send the bytes and have the registry verify them; once more from the start when it finds that other bytes
        came, as registries do that lost count of an upload that broke. Raises as `Repository.push_blob`."""
        try:
            try:
                self._send(open_at, progress)
            except Corrupt as error:
                if not self._disputed:
                    raise
                self._transport.trace(f"* {error}; once more from the start")
                self.cancel()
                self._lost = False
                self._send(open_at, progress)
        except BaseException:
            self.cancel()
            raise
        if progress is not None:
            progress(self._descriptor.size)

    def _send(self, open_at: OpenAt, progress: Callable[[int], None] | None) -> None:
        if not self._location:
            self._begin()
        if self._in_pieces or not self._whole(open_at, progress):
            self._pieces(open_at, progress, lost=self._lost)

    def cancel(self) -> None:
        """Tell the registry to forget what it has of this. Raises nothing; idempotent."""
        location, self._location, self._offset = self._location, "", 0
        if location:
            try:
                self._session.request("DELETE", location, self._scope, attempts=1).close()
            except TiffinError as error:
                self._transport.trace(f"* the upload at {location} stays: {error}")

    # --- the steps --------------------------------------------------------------------------------------------------

    @property
    def _uploads(self) -> str:
        return f"/v2/{self._path}/blobs/uploads/"

    def _begin(self) -> None:
        with self._session.request("POST", self._uploads, self._scope) as response:
            if response.status != 202:
                raise refusal(response, self._asking._replace(reference=""), self._transport)
            self._begun(response)

    def _begun(self, response: Response) -> None:
        self._offset = 0
        if not self._moved(response):
            raise self._transport.failure(
                TransferError, f"{self._session.home} began an upload without a location"
            )
        least = response.header("oci-chunk-min-length")
        if least.isascii() and least.isdigit() and 0 < int(least[:18]) < self._descriptor.size:
            self._in_pieces = True
            self._chunk = max(CHUNK, int(least[:18]))

    def _moved(self, response: Response) -> bool:
        """Take over the Location of an answer, when it has one."""
        location = response.header("location")
        if location:
            self._location = self._transport.follow(self._session.endpoint, response.url, location)
        return bool(location)

    def _whole(self, open_at: OpenAt, progress: Callable[[int], None] | None) -> bool:
        """Send all in one PUT; False when it is to be gone on with in pieces, `_lost` when nobody knows from where."""
        size = self._descriptor.size
        try:
            response = self._put(lambda: self._body(open_at, 0, size, progress), size)
        except (BrokenOff, Unreachable) as error:
            self._transport.trace(f"* {error}; asking what came")
            self._lost = True
            return False
        with response:
            if response.status in _DONE:
                self._location = ""
                return True
            if is_transient(response.status):
                self._lost = True
                return False
            refused = self._refused(response)
            if response.status not in _NOT_WHOLE or isinstance(refused, Corrupt):
                raise refused
        self._transport.trace(f"* {refused}; again in pieces")
        self.cancel()
        self._begin()
        return False

    def _pieces(self, open_at: OpenAt, progress: Callable[[int], None] | None, *, lost: bool) -> None:
        """Send what is missing by PATCH, then name it; go on after failures where the registry stands, which is asked
        first when `lost`."""
        failures = rounds = 0
        while True:
            before = self._offset
            try:
                if lost and self._recovered():
                    return
                lost = False
                while self._offset < self._descriptor.size:
                    self._patch(open_at, progress)
                    failures = 0
                with self._put(b"", 0) as response:
                    if response.status in _DONE:
                        self._location = ""
                        return
                    if not is_transient(response.status):
                        raise self._refused(response)
                    raise BrokenOff(f"{self._session.home} answered {response.status}")
            except (BrokenOff, Unreachable) as error:
                failures = 1 if self._offset >= before + _PROGRESS else failures + 1
                rounds += 1
                if failures >= _TRIES_WITHOUT_PROGRESS or rounds > _RESUMES_MAX:
                    raise
                lost = True
                self._transport.trace(f"* {error}; going on")
                self._transport.waiting.sleep(backoff(failures))

    def _patch(self, open_at: OpenAt, progress: Callable[[int], None] | None) -> None:
        start, length = self._offset, min(self._chunk, self._descriptor.size - self._offset)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{start}-{start + length - 1}",
        }
        with self._session.request(
            "PATCH",
            self._location,
            self._scope,
            headers=headers,
            body=lambda: self._body(open_at, start, length, progress),
            length=length,
            attempts=1,
            patience=_COMMIT_PATIENCE,
        ) as response:
            if response.status in (201, 202, 204):
                self._moved(response)
                self._offset = self._stated_end(response, start + length)
                if self._offset < start + length:
                    raise BrokenOff(f"{self._session.home} took {self._offset - start} of {length} bytes")
            elif response.status == 413 and self._chunk > _CHUNK_LEAST:
                self._chunk //= 4
                raise BrokenOff(f"{self._session.home} wants smaller pieces")
            elif response.status in (404, 416) or is_transient(response.status):
                raise BrokenOff(f"{self._session.home} answered {response.status} to a piece")
            else:
                raise self._refused(response)

    def _put(self, body: Any, length: int) -> Response:
        from urllib.parse import urlencode

        query = urlencode({"digest": self._descriptor.digest})
        return self._session.request(
            "PUT",
            f"{self._location}{'&' if '?' in self._location else '?'}{query}",
            self._scope,
            headers={"Content-Type": "application/octet-stream"},
            body=body,
            length=length,
            attempts=1,
            patience=_COMMIT_PATIENCE,
        )

    def _recovered(self) -> bool:
        """After a failure: True when the blob is there after all. Else the upload stands where the registry says, or
        has begun anew."""
        blob = f"/v2/{self._path}/blobs/{self._descriptor.digest}"
        with self._session.request("HEAD", blob, self._scope, attempts=1) as response:
            if response.status == 200 and response.length in (-1, self._descriptor.size):
                self._location = ""
                return True
        if self._location:
            with self._session.request("GET", self._location, self._scope, attempts=1) as response:
                if response.status in (200, 202, 204) and response.header("range"):
                    self._moved(response)
                    self._offset = self._stated_end(response, -1)
                    return False
                if response.status == 404:
                    self._location = ""  # it forgot, or dropped what was half written
        self.cancel()
        self._begin()
        return False

    def _stated_end(self, response: Response, sent: int) -> int:
        """How many bytes the registry has, from its Range header; `sent` when it has none. "0-0" stands for nothing
        as well as for one byte: taken for nothing, which the next answer corrects."""
        header = response.header("range").strip().removeprefix("bytes=")
        if not header and sent >= 0:
            return sent
        found = re.fullmatch(r"0-([0-9]{1,18})", header)
        have = int(found[1]) + 1 if found is not None and int(found[1]) else 0
        if sent == 1 and have == 0:
            have = 1
        limit = self._descriptor.size if sent < 0 else sent
        if have > limit or (found is None and header not in ("", "0--1")):
            raise self._transport.failure(
                TransferError,
                f"{self._session.home} says that it has the bytes {shown(header)!r} of {limit} that were sent",
            )
        return have

    def _refused(self, response: Response) -> TiffinError:
        error = refusal(response, self._asking, self._transport)
        self._disputed = isinstance(error, Corrupt)
        return error

    def _body(
        self, open_at: OpenAt, start: int, length: int, progress: Callable[[int], None] | None
    ) -> Iterator[bytes]:
        """The blob's bytes from `start` on, exactly `length` of them."""
        try:
            source = open_at(start)
        except OSError as error:
            raise EngineError(f"cannot open blob {self._descriptor.digest[:19]}: {error}") from error
        try:
            left = length
            while left:
                data = source.read(min(PIECE_SENT, left))
                if not data:
                    raise Corrupt(f"blob {self._descriptor.digest[:19]} ends {left} bytes early here")
                left -= len(data)
                yield data
                if progress is not None:
                    progress(start + length - left)
        except OSError as error:
            raise EngineError(f"cannot read blob {self._descriptor.digest[:19]}: {error}") from error
        finally:
            source.close()
