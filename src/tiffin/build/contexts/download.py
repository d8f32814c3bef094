"""ADD of a URL: the file, by HTTP.

A server may send us on to another, over http or https, but never further inside the network than it stands itself.
Nothing is fetched from link-local addresses, where clouds give away their keys. What was downloaded is kept by its
digest, with what the server said of it (ETag), so that the next build may ask whether it is still so.
"""

from __future__ import annotations

import base64
import json
import os
import time
from contextlib import suppress

from tiffin.build.workers import Channel
from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded, NotFound, TransferError
from tiffin.oci.digest import sha256
from tiffin.registry.origin import LINK_LOCAL, PRIVATE, PUBLIC, host_kinds, may_lead, origin_of
from tiffin.registry.redact import redact
from tiffin.state import Layout
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tiffin.registry.response import Response
    from tiffin.registry.transport import Transport

DOWNLOAD_MAX = 32 << 30  # bytes
_KEPT_MAX = 4 << 30  # bytes of all that is kept, but for the newest
_KEPT_SECONDS = 30 * 24 * 3600
_PIECE = 1 << 18
_NAME_MAX = 255
_EVERY = 2.0  # seconds between two words about progress
_SHOWN_EVERY = 0.1  # between two that a live view alone shows


class Downloaded(NamedTuple):
    """`path` holds it; `name` is what it is called, `mtime` in nanoseconds, 0 when the server did not say."""

    path: str
    digest: str
    name: str
    mtime: int


def download(layout: Layout, url: str, checksum: str, directory: str, channel: Channel) -> Downloaded:
    """What `url` holds now, as a file below `directory`. Raises NotFound, TransferError, LimitExceeded, Corrupt when
    that is not of the `checksum`."""
    from tiffin.config import load_settings
    from tiffin.registry.transport import Transport

    url, authorization = _split_user(url.partition("#")[0])
    store = _Kept(f"{layout.cache}/downloads", url)
    if checksum and (known := store.by_checksum(checksum)):
        return store.take(known, directory)
    transport = Transport(load_settings().registries)
    try:
        with _request(transport, url, authorization, store.validators()) as response:
            if response.status == 304 and (known := store.row()):
                found = known
            else:
                _check_status(response, url)
                found = store.receive(response, directory, channel)
    finally:
        transport.close()
    _check(found, checksum, url)
    return store.take(found, directory)


def final_url(url: str, authorization: str = "") -> str:
    """Where the redirects from `url` end, each checked; `url` itself when it cannot be asked."""
    from tiffin.config import load_settings
    from tiffin.registry.transport import Transport

    transport = Transport(load_settings().registries)
    try:
        with _request(transport, url, authorization, {}) as response:
            return response.url if response.status == 200 else url
    finally:
        transport.close()


def _split_user(url: str) -> tuple[str, str]:
    """The URL without its user and password, and the header that says them instead."""
    from urllib.parse import unquote, urlsplit

    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    if not at:
        return url, ""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidArgument(f"malformed URL {redact(url)!r}") from None
    plain = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    header = f"Basic {base64.b64encode(plain.encode('utf-8', 'surrogateescape')).decode()}"
    return f"{scheme}{separator}{host}{slash}{path}", header


def _request(transport: Transport, url: str, authorization: str, validators: dict[str, str]) -> Response:
    from tiffin.registry.endpoints import Endpoint

    home = origin_of(url)
    standing = host_kinds(home.host, home.port)
    allowed = {PUBLIC} if PUBLIC in standing or not standing else standing | {PUBLIC, PRIVATE}

    def check(hop: str) -> None:
        there = origin_of(hop)
        kinds = host_kinds(there.host, there.port)
        if LINK_LOCAL in kinds:
            raise TransferError(f"{redact(hop)} is at a link-local address, which nothing is fetched from")
        if there != home and not may_lead(standing, kinds):
            raise TransferError(f"{home} leads further inside, to {there}: refused")

    endpoint = Endpoint(str(home), home.host)
    return transport.request(
        endpoint,
        "GET",
        url,
        headers=validators,
        authorization=authorization,
        check=check,
        kinds=frozenset(allowed - {LINK_LOCAL}),
    )


def _check_status(response: Response, url: str) -> None:
    shown = redact(url)
    if response.status in (401, 403):
        raise TransferError(f"{shown} answered {response.status}: it wants a login, or gives it to nobody")
    if response.status in (404, 410):
        raise NotFound(f"{shown} answered {response.status}: there is nothing")
    if response.status != 200:
        raise TransferError(f"{shown} answered {response.status}")


def _check(found: dict[str, Any], checksum: str, url: str) -> None:
    if not checksum:
        return
    algorithm, _, wanted = checksum.partition(":")
    actual = found["digests"].get(algorithm)
    if actual is None:
        raise InvalidArgument(f"unsupported checksum algorithm {algorithm!r}; use sha256, sha384 or sha512")
    if actual != wanted:
        raise Corrupt(
            f"{redact(url)} is not what --checksum says: it is {algorithm}:{actual}, not {checksum}"
        )


class _Kept:
    """The downloads that are kept: files by SHA-256, and for each URL a row that says which it was last."""

    def __init__(self, directory: str, url: str) -> None:
        self._directory = directory
        self._url = url
        os.makedirs(directory, 0o700, exist_ok=True)
        self._row_path = f"{directory}/{sha256(url.encode())}.json"

    def row(self) -> dict[str, Any] | None:
        """What is known of the URL, when the file is there."""
        try:
            with open(self._row_path, "rb") as file:
                row = json.loads(file.read())
        except (OSError, ValueError):
            return None
        whole = isinstance(row, dict) and {"digests", "name", "mtime", "etag", "modified"} <= row.keys()
        return row if whole and os.path.exists(self._file(row["digests"]["sha256"])) else None

    def by_checksum(self, checksum: str) -> dict[str, Any] | None:
        """The row, when the file that the URL gave last is the one that is wanted: nobody need be asked."""
        row = self.row()
        algorithm, _, wanted = checksum.partition(":")
        return row if row is not None and row["digests"].get(algorithm) == wanted else None

    def validators(self) -> dict[str, str]:
        """The headers that ask for the file only if it has changed."""
        row = self.row()
        if row is None:
            return {}
        if row["etag"]:
            return {"If-None-Match": row["etag"]}
        return {"If-Modified-Since": row["modified"]} if row["modified"] else {}

    def receive(self, response: Response, directory: str, channel: Channel) -> dict[str, Any]:
        """Download the body and keep it; its row. What breaks off stays below `directory`."""
        import hashlib

        sums = {name: hashlib.new(name) for name in ("sha256", "sha384", "sha512")}
        path = f"{directory}/incoming-{os.getpid()}"
        aside = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(aside, "wb") as file:
            name = _name(response, self._url)
            total, told, shown = 0, time.monotonic(), 0.0
            while piece := response.read(_PIECE):
                total += len(piece)
                if total > DOWNLOAD_MAX:
                    raise LimitExceeded(f"{redact(self._url)} is larger than {DOWNLOAD_MAX >> 30} GiB")
                file.write(piece)
                for each in sums.values():
                    each.update(piece)
                if time.monotonic() - shown > _SHOWN_EVERY:
                    shown = time.monotonic()
                    channel.tell({"transfer": [name, total, response.length]})
                if time.monotonic() - told > _EVERY:
                    told = time.monotonic()
                    channel.log(2, _progress(total, response.length))
            file.flush()
            os.fsync(file.fileno())  # its name says what is in it, after a power loss too
            channel.tell({"transfer": [name, total, total]})
            channel.log(2, _progress(total, response.length))
            digests = {name: each.hexdigest() for name, each in sums.items()}
            os.rename(path, self._file(digests["sha256"]))
        row = {
            "digests": digests,
            "name": name,
            "mtime": _time(response.header("last-modified")),
            "etag": response.header("etag"),
            "modified": response.header("last-modified"),
        }
        self._write(row)
        return row

    def take(self, row: dict[str, Any], directory: str) -> Downloaded:
        """A link to the file in a build's own directory: whatever is dropped here meanwhile, it stays there."""
        digest = row["digests"]["sha256"]
        path = f"{directory}/{digest}"
        with suppress(FileExistsError):
            os.link(self._file(digest), path)
        os.utime(self._file(digest))
        self._drop_old(digest)
        return Downloaded(path, digest, row["name"], row["mtime"])

    def _file(self, digest: str) -> str:
        return f"{self._directory}/{digest}"

    def _write(self, row: dict[str, Any]) -> None:
        aside = f"{self._row_path}.{os.getpid()}"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(row))
        os.rename(aside, self._row_path)

    def _drop_old(self, kept: str) -> None:
        """Bound what is kept. A build that uses a file has a link of its own."""
        entries = []
        with os.scandir(self._directory) as listing:
            for entry in listing:
                with suppress(FileNotFoundError):
                    entries.append((entry.stat(follow_symlinks=False), entry.name))
        total = 0
        oldest = time.time() - _KEPT_SECONDS
        for status, name in sorted(entries, key=lambda each: -each[0].st_mtime):
            total += status.st_size
            if name != kept and (total > _KEPT_MAX or status.st_mtime < oldest):
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._directory}/{name}")


def _progress(done: int, length: int) -> bytes:
    return f"{done} of {length} bytes\n".encode() if length >= 0 else f"{done} bytes\n".encode()


def _name(response: Response, url: str) -> str:
    """What the file is called: as the server says, else as the URL ends."""
    from urllib.parse import unquote

    ending = unquote(url.partition("?")[0].partition("#")[0].rpartition("/")[2])
    for candidate in (_disposition(response.header("content-disposition")), ending):
        name = os.path.basename(candidate)
        if name not in ("", ".", "..") and "\0" not in name and len(os.fsencode(name)) <= _NAME_MAX:
            return name
    return "download"


def _disposition(text: str) -> str:
    """The file name of a Content-Disposition header (RFC 6266), "" when there is none that makes sense."""
    from email.message import Message

    message = Message()
    try:
        message["content-disposition"] = text or "inline"
        found = message.get_filename() or ""
        os.fsencode(found)
    except Exception:  # noqa: BLE001 - the standard library's parser raises what it likes for what a server says
        return ""
    return found


def _time(text: str) -> int:
    """A Last-Modified header in nanoseconds, 0 when there is none."""
    from email.utils import parsedate_to_datetime

    try:
        return max(0, int(parsedate_to_datetime(text).timestamp())) * 10**9
    except (TypeError, ValueError, OverflowError):
        return 0
