"""Connections kept alive, by whom we trust and through which proxy. The only module that imports urllib3, and itself
imported only once a request is to be made.

urllib3 is given no leave to decide: no retries, no redirects, no decoding of its own. What it logs goes through the
sink like everything else.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import ssl
import threading
from collections.abc import Iterator

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tiffin.errors import InvalidArgument, TransferError
from tiffin.registry.bounded import BoundedResponse
from tiffin.registry.origin import address_kind, kind_name
from tiffin.registry.redact import Redactor, redact
from tiffin.typed import Any, NamedTuple

PIECE = 256 << 10  # bytes given to one send; each must be taken within the stall timeout
_KEPT = 32  # idle connections to one origin


class Trust(NamedTuple):
    """What a connection believes and shows: certificate authorities beside the system's, client certificates,
    whether the other side's certificate is verified, and the kinds of addresses it may end at (None: any)."""

    ca_files: tuple[str, ...] = ()
    client_certificates: tuple[tuple[str, str], ...] = ()
    verify: bool = True
    kinds: frozenset[int] | None = None


class Pools:
    """urllib3's pools, one manager for each (trust, proxy). Safe to use from many threads."""

    def __init__(self, redactor: Redactor) -> None:
        self._redact = redactor
        self._lock = threading.Lock()
        self._managers: dict[tuple[Trust, str], urllib3.PoolManager] = {}
        _quieten()

    def manager(self, trust: Trust, proxy: str) -> urllib3.PoolManager:
        """The pools for requests made with `trust` through `proxy` ("" for none). Raises InvalidArgument when a file
        that `trust` names cannot be used."""
        with self._lock:
            found = self._managers.get((trust, proxy))
            if found is None:
                found = self._managers[trust, proxy] = self._make(trust, proxy)
            return found

    def close(self) -> None:
        """Close all idle connections. Idempotent."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def _make(self, trust: Trust, proxy: str) -> urllib3.PoolManager:
        common: dict[str, Any] = {
            "num_pools": 64,
            "maxsize": _KEPT,
            "blocksize": PIECE,
            "retries": False,
            "ssl_context": _context(trust),
        }
        if not proxy:
            manager = urllib3.PoolManager(**common)
        else:
            address, user = _split_userinfo(proxy)
            self._redact.learn(user, user.partition(":")[2])
            headers = urllib3.make_headers(proxy_basic_auth=user) if user else {}
            self._redact.learn(*(value.partition(" ")[2] for value in headers.values()))
            manager = urllib3.ProxyManager(
                address, proxy_headers=headers, proxy_ssl_context=_context(Trust()), **common
            )
        manager.pool_classes_by_scheme = _pool_classes(trust.verify, None if proxy else trust.kinds)
        return manager


def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if trust.verify:
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in trust.ca_files if trust.verify else ():
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"cannot use the certificate authority {path}: {error}") from error
    for certificate, key in trust.client_certificates:
        try:
            context.load_cert_chain(certificate, key or None, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"cannot use the client certificate {certificate}: {error}") from error
    return context


def _no_password() -> str:
    raise ssl.SSLError("its key asks for a password")  # OpenSSL would ask on the terminal


def _split_userinfo(proxy: str) -> tuple[str, str]:
    from urllib.parse import unquote, urlsplit, urlunsplit

    try:
        parts = urlsplit(proxy)
        user, _, host = parts.netloc.rpartition("@")
        if not parts.hostname:
            raise ValueError
        return urlunsplit((parts.scheme, host, "", "", "")), unquote(user)
    except ValueError:
        raise InvalidArgument(f"malformed proxy URL {redact(proxy)!r} in the environment") from None


@functools.cache
def _pool_classes(verify: bool, kinds: frozenset[int] | None) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's classes, with two questions asked once connected and before anything is sent."""

    class Plain(HTTPConnection):
        response_class = BoundedResponse

        def connect(self) -> None:
            _ours.connecting = True
            super().connect()
            _ours.connecting = False
            _check_peer(self, kinds)

    class Tls(HTTPSConnection):
        response_class = BoundedResponse

        def connect(self) -> None:
            _ours.connecting = True
            super().connect()
            _ours.connecting = False
            self.is_verified = (
                self.is_verified or not verify
            )  # the settings say so: no warning at each request
            _check_peer(self, kinds)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _check_peer(connection: HTTPConnection, kinds: frozenset[int] | None) -> None:
    """A name that was checked may have been given another address since: what counts is where we are."""
    if kinds is None or connection.sock is None:
        return
    peer = str(connection.sock.getpeername()[0])
    if address_kind(peer) not in kinds:
        connection.close()
        raise TransferError(
            f"{connection.host} leads to the {kind_name({address_kind(peer)})} address {peer}: refused"
        )


# --- urllib3's log --------------------------------------------------------------------------------------------------

_ours = threading.local()


def was_connecting() -> bool:
    """Whether the last request of this thread failed before anything of it was sent."""
    return bool(getattr(_ours, "connecting", False))


@contextlib.contextmanager
def logged_through(redactor: Redactor) -> Iterator[None]:
    """While it lasts, what urllib3 logs from this thread goes through `redactor`."""
    before = getattr(_ours, "redactor", None)
    _ours.redactor = redactor
    _ours.connecting = False
    try:
        yield
    finally:
        _ours.redactor = before


class _Sink(logging.Filter):
    """Somebody's root logger may be at DEBUG: urllib3 then logs each URL with its query."""

    def filter(self, record: logging.LogRecord) -> bool:
        redactor = getattr(_ours, "redactor", None)
        if redactor is not None:
            record.msg, record.args = redactor(record.getMessage()), None
            record.exc_info = record.exc_text = None
        return True


@functools.cache
def _quieten() -> None:
    sink = _Sink()
    for name in ("connectionpool", "connection", "response", "poolmanager", "util.retry"):
        logging.getLogger(f"urllib3.{name}").addFilter(sink)
