"""One repository of a registry: manifests and blobs, in both directions (distribution-spec, "Pull", "Push").

Pulls ask mirrors first; pushes go to the registry itself. Whatever is fetched by digest has been verified, or, for
blobs, is for the caller to hash while it comes.
"""

from __future__ import annotations

import re
from itertools import count

from tiffin.errors import Corrupt, InvalidArgument, NotFound, TiffinError, TransferError, Unsupported
from tiffin.oci.descriptor import (
    DOCUMENT_MAX,
    INDEX,
    INDEXES,
    MANIFEST,
    MANIFESTS,
    Descriptor,
    decode_json,
)
from tiffin.oci.digest import check_digest, is_digest, sha256
from tiffin.oci.reference import Reference, shown
from tiffin.registry import referrers, scopes
from tiffin.registry.blobs import BlobStream, start_of
from tiffin.registry.origin import PUBLIC, origin_of
from tiffin.registry.pages import pages
from tiffin.registry.problems import Asking, problem_of, refusal
from tiffin.registry.uploads import Upload
from tiffin.registry.waiting import again, backoff
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tiffin.registry.auth import Session
    from tiffin.registry.response import Response
    from tiffin.registry.route import Route
    from tiffin.registry.scopes import Scope
    from tiffin.registry.transport import Transport
    from tiffin.registry.uploads import OpenAt

ACCEPT = ", ".join((INDEX, MANIFEST, *sorted((INDEXES | MANIFESTS) - {INDEX, MANIFEST})))
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_SAYS_NOTHING = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_UNSETTLED = frozenset({"manifest_blob_unknown", "blob_unknown", "digest_invalid"})
_SETTLING_TRIES = 4
_COMMIT_PATIENCE = 10  # stall timeouts: a registry hashes or moves what it was sent before it answers


class FetchedDocument(NamedTuple):
    """A manifest or index, byte for byte, and what it is."""

    descriptor: Descriptor
    data: bytes


class Repository:
    """A repository at its registry. Cheap to make; safe to use from many threads."""

    def __init__(self, reference: Reference, pulls: Route, pushes: Route, transport: Transport) -> None:
        self.name = reference.name
        self.registry = reference.registry
        self.path = reference.repository
        self._familiar = reference.familiar_name()
        self._pulls, self._pushes = pulls, pushes
        self._transport = transport

    # --- manifests --------------------------------------------------------------------------------------------------

    def resolve(self, reference: str) -> Descriptor:
        """What a tag, or a digest, names now. By HEAD, which costs no pull quota; a registry that answers it
        incompletely is asked by GET. The size and a tag's digest are the registry's word until the document has been
        fetched. Raises NotFound, PermissionDenied, Unauthorized, TransferError, Corrupt, Unsupported."""
        _checked_reference(reference)
        return self._pulls.first(lambda session: self._resolve(session, reference))

    def _resolve(self, session: Session, reference: str) -> Descriptor:
        with session.request(
            "HEAD", self._url("manifests", reference), self._scope("pull"), headers={"Accept": ACCEPT}
        ) as response:
            media_type = _media_type(response)
            digest = response.header("docker-content-digest")
            answered = response.status == 200 and is_digest(digest) and response.length >= 0
            usual = media_type in INDEXES or media_type in MANIFESTS
            if answered and usual and response.length <= DOCUMENT_MAX:
                if digest != reference and is_digest(reference):
                    raise Corrupt(f"{self._full(reference)}: the registry has {digest} there")
                return Descriptor(media_type, digest, response.length)
        return self._manifest(session, reference, DOCUMENT_MAX).descriptor

    def manifest(self, reference: str, limit: int = DOCUMENT_MAX) -> FetchedDocument:
        """The manifest or index that a tag or digest names. Its digest is computed from the bytes, and is `reference`
        where that is a digest; the media type is what the registry says, to be checked against the document by
        `oci.parse_document`. Raises as `resolve`, and LimitExceeded past `limit` bytes."""
        _checked_reference(reference)
        return self._pulls.first(lambda session: self._manifest(session, reference, limit))

    def _manifest(self, session: Session, reference: str, limit: int) -> FetchedDocument:
        return again(lambda: self._manifest_once(session, reference, limit), self._transport.waiting)

    def _manifest_once(self, session: Session, reference: str, limit: int) -> FetchedDocument:
        full = self._full(reference)
        with session.request(
            "GET", self._url("manifests", reference), self._scope("pull"), headers={"Accept": ACCEPT}
        ) as response:
            if response.status != 200:
                raise self._refusal(response, reference)
            media_type = _media_type(response)
            if media_type.startswith(_SCHEMA_1):
                raise _schema_1(full)
            stated = response.header("docker-content-digest")
            data = response.document(limit, f"manifest for {full}")
        digest = f"sha256:{sha256(data)}"
        if is_digest(reference) and digest != reference:
            raise Corrupt(f"manifest for {full} does not match its digest: it is {digest}")
        if is_digest(stated) and digest != stated:
            raise Corrupt(f"manifest for {full} is {digest}, but the registry says {stated}")
        if media_type in _SAYS_NOTHING:
            media_type = _own_media_type(data, full)
        return FetchedDocument(Descriptor(media_type, digest, len(data)), data)

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> str:
        """Store a manifest or index under a tag or its digest, whose blobs are all there. Returns its digest. One that
        refers to a subject is also listed under the subject's tag where the registry does not list it itself.
        Raises Corrupt when the registry took other bytes than these, and as `resolve`."""
        _checked_reference(reference)
        digest = f"sha256:{sha256(data)}"
        if is_digest(reference) and reference != digest:
            raise InvalidArgument(f"{self._full(reference)}: this manifest is {digest}")
        subject = referrers.subject_of(data)

        def put(session: Session) -> str:
            with self._put(session, reference, data, media_type) as response:
                stated = response.header("docker-content-digest")
                listed = bool(response.header("oci-subject"))
            if is_digest(stated) and stated != digest:
                raise Corrupt(f"{self._full(reference)}: {digest} was sent, the registry kept {stated}")
            if subject and not listed:
                self._list_referrer(session, subject, data, media_type)
            return digest

        return self._pushes.first(put)

    def _put(self, session: Session, reference: str, data: bytes, media_type: str) -> Response:
        """The answer of a registry that took the manifest. One that does not see its blobs, though it said of each
        that it is there, may be storing the same ones for somebody else at this moment: it is asked again."""
        for attempt in count(1):
            response = session.request(
                "PUT",
                self._url("manifests", reference),
                self._scope("pull", "push"),
                headers={"Content-Type": media_type},
                body=data,
                patience=_COMMIT_PATIENCE,
            )
            if response.status in (200, 201, 202, 204):
                return response
            with response:
                problem = problem_of(response)
            if problem.code not in _UNSETTLED or attempt == _SETTLING_TRIES:
                break
            self._transport.trace(f"* {problem.text}; again, should it be storing them")
            self._transport.waiting.sleep(backoff(attempt))
        raise refusal(response, self._asking(reference), self._transport, problem)

    def delete_manifest(self, digest: str) -> None:
        """Remove a manifest (or a tag, where the registry can). Raises NotFound; Unsupported where deleting is
        switched off."""
        _checked_reference(digest)

        def delete(session: Session) -> None:
            with session.request(
                "DELETE", self._url("manifests", digest), self._scope("pull", "push", "delete")
            ) as response:
                if response.status not in (200, 202, 204):
                    raise self._refusal(response, digest, change=True)

        self._pushes.first(delete)

    def tags(self) -> Iterator[str]:
        """All tags, page by page, in the registry's order. Raises as `resolve`."""
        asking = Asking(self.registry, self._familiar)
        for session, document in pages(self._pulls, self._url("tags", "list"), self._scope("pull"), asking):
            listed = document.get("tags") or []
            if not isinstance(listed, list):
                raise self._transport.failure(TransferError, f"{session.home} sent no list of tags")
            yield from (tag for tag in listed if isinstance(tag, str) and _TAG.fullmatch(tag))

    def referrers(self, digest: str) -> list[Descriptor]:
        """What refers to the manifest `digest`, by the registry's API or else by the tag that stands for it; [] when
        nothing does. Raises as `resolve`."""
        check_digest(digest)
        what = f"the referrers of {self._full(digest)}"
        asking = Asking(self.registry, self._familiar)
        found: list[Descriptor] = []
        try:
            url = self._url("referrers", digest)
            for _, document in pages(self._pulls, url, self._scope("pull"), asking):
                found += referrers.listed(document, what)
        except (NotFound, Unsupported):
            try:
                return referrers.listed_by_tag(self.manifest(referrers.tag_of(digest)).data, what)
            except NotFound:
                return []
        return found

    def _list_referrer(self, session: Session, subject: str, data: bytes, media_type: str) -> None:
        tag = referrers.tag_of(subject)
        try:
            index = self._manifest(session, tag, DOCUMENT_MAX).data
        except NotFound:
            index = b""
        longer = referrers.extended(index, data, media_type)
        if longer != index:
            self.put_manifest(tag, longer, INDEX)

    # --- blobs ------------------------------------------------------------------------------------------------------

    def open_blob(self, descriptor: Descriptor, offset: int = 0, *, urls: Sequence[str] = ()) -> BlobStream:
        """The bytes of a blob from `offset` on, or from 0 where the registry does not know ranges (`.offset` says).
        To be closed. `urls` are asked, without credentials, when the registry does not have it. Raises as
        `resolve`; Corrupt when its size there is another."""
        check_digest(descriptor.digest)

        def reopen(position: int) -> tuple[Response, int]:
            return self._pulls.first(lambda session: self._open(session, descriptor, position, urls))

        return BlobStream(descriptor, offset, reopen, self._transport)

    def _open(
        self, session: Session, descriptor: Descriptor, position: int, urls: Sequence[str]
    ) -> tuple[Response, int]:
        headers = {"Range": f"bytes={position}-"} if position else {}
        target, scope = self._url("blobs", descriptor.digest), self._scope("pull")
        response = session.request("GET", target, scope, headers=headers)
        if response.status == 416 and position:
            response.close()
            response = session.request("GET", target, scope)
        if response.status not in (200, 206) and urls:
            response = self._open_elsewhere(session, response, urls, headers)
        if response.status not in (200, 206):
            raise self._refusal(response, descriptor.digest)
        try:
            return response, start_of(response, descriptor, position)
        except Corrupt:
            response.close()
            raise

    def _open_elsewhere(
        self, session: Session, refused: Response, urls: Sequence[str], headers: dict[str, str]
    ) -> Response:
        """The first of a foreign layer's URLs that answers; the registry's refusal when none does."""
        public = frozenset({PUBLIC})
        for url in urls[:16]:
            try:
                target = self._transport.follow(session.endpoint, session.endpoint.url, url)
                kinds = None if origin_of(target).host == session.home.host else public
                response = self._transport.request(
                    session.endpoint._replace(client_certificates=()),
                    "GET",
                    target,
                    headers=headers,
                    kinds=kinds,
                )
            except TransferError as error:
                self._transport.trace(f"* {error}")
                continue
            if response.status in (200, 206):
                refused.close()
                return response
            response.close()
        return refused

    def has_blob(self, blob: Descriptor | str, *, push: bool = False) -> bool:
        """Whether the registry has it, with the size that a descriptor says. `push` asks the registry itself, with
        the leave that a push needs anyway. Raises PermissionDenied, Unauthorized, TransferError."""
        digest = blob if isinstance(blob, str) else blob.digest
        size = -1 if isinstance(blob, str) else blob.size
        check_digest(digest)
        scope = self._scope("pull", "push") if push else self._scope("pull")

        def ask(session: Session) -> bool:
            with session.request("HEAD", self._url("blobs", digest), scope) as response:
                if response.status == 404:
                    return False
                if response.status != 200:
                    raise self._refusal(response, digest, change=push)
                return size < 0 or response.length in (-1, size)

        return (self._pushes if push else self._pulls).first(ask)

    def push_blob(
        self,
        descriptor: Descriptor,
        open_at: OpenAt,
        *,
        mount_from: Sequence[str] = (),
        progress: Callable[[int], None] | None = None,
    ) -> str:
        """Have the blob at the registry: "exists" when it was there, "mounted:<repository>" when the registry took it
        from one of `mount_from` (repositories there that have it, in either form of name), "pushed" when it was
        sent. `open_at(offset)` opens its bytes from there on, and is asked again after a failure; `progress` gets the
        number of bytes that are there. Left by an error, no upload remains. Raises as `resolve`, and Corrupt when
        `open_at` gives other than the descriptor's size or the registry finds another digest."""
        if self.has_blob(descriptor, push=True):
            return "exists"

        def push(session: Session) -> str:
            upload = Upload(session, self.path, descriptor, self._asking(descriptor.digest))
            for name in mount_from:
                source = name.removeprefix(f"{self.registry}/")
                if source != self.path and upload.mount(source):
                    return f"mounted:{name}"
            upload.send(open_at, progress)
            return "pushed"

        return self._pushes.first(push)

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _url(self, kind: str, last: str) -> str:
        return f"/v2/{self.path}/{kind}/{last}"

    def _scope(self, *actions: str) -> Scope:
        return scopes.repository(self.path, *actions)

    def _full(self, reference: str) -> str:
        return f"{self._familiar}{'@' if ':' in reference else ':'}{reference}"

    def _asking(self, reference: str) -> Asking:
        return Asking(self.registry, self._familiar, reference, change=True)

    def _refusal(self, response: Response, reference: str, *, change: bool = False) -> TiffinError:
        return refusal(response, Asking(self.registry, self._familiar, reference, change), self._transport)


def _checked_reference(reference: str) -> None:
    if not is_digest(reference) and not _TAG.fullmatch(reference):
        raise InvalidArgument(f"invalid reference format: {shown(reference)!r} is neither tag nor digest")


def _media_type(response: Response) -> str:
    return response.header("content-type").partition(";")[0].strip().lower()[:255]


def _own_media_type(data: bytes, what: str) -> str:
    """What a document says that it is, where the registry says nothing."""
    document = decode_json(data, f"manifest for {what}")
    if not isinstance(document, dict):
        raise Corrupt(f"manifest for {what} is not a JSON object")
    if document.get("schemaVersion") == 1:
        raise _schema_1(what)
    stated = document.get("mediaType")
    return stated[:255] if isinstance(stated, str) else INDEX if "manifests" in document else MANIFEST


def _schema_1(what: str) -> Unsupported:
    return Unsupported(
        f"{what} is an image of Docker's schema 1, which is not verifiable by digest and long withdrawn; "
        "pull it with an old Docker and push it again"
    )
