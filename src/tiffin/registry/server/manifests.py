"""Manifests by tag and digest (distribution-spec, "Pulling manifests", "Pushing Manifests", "Deleting Manifests")."""

import re

from aiohttp import web

from tiffin.oci.descriptor import DOCUMENT_MAX
from tiffin.oci.digest import is_digest, sha256
from tiffin.registry.server.desk import Call, checked_digest, pieces, refusing
from tiffin.registry.server.errors import Refusal
from tiffin.registry.server.shelf import Held

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")


def checked_reference(text: str, *, new: bool = False) -> str:
    """A tag or digest as it stands in a path. What cannot be a tag is refused where it is to be one (`new`), and is
    unknown elsewhere. Raises Refusal."""
    if ":" in text:
        return checked_digest(text)
    if _TAG.fullmatch(text) is None:
        what = "a tag has letters, digits, '_', '.', '-', at most 128"
        raise Refusal(400, "TAG_INVALID", what) if new else Refusal(404, "MANIFEST_UNKNOWN", what)
    return text


async def get(call: Call) -> web.StreamResponse:
    """GET."""
    with refusing("MANIFEST_UNKNOWN"):
        held, data = await call.desk.run(call.desk.shelf.manifest, call.name, checked_reference(call.word))
    return web.Response(headers=_headers(held), body=data)


async def head(call: Call) -> web.StreamResponse:
    """HEAD."""
    with refusing("MANIFEST_UNKNOWN"):
        held = await call.desk.run(call.desk.shelf.find, call.name, checked_reference(call.word))
    return web.Response(headers=_headers(held) | {"Content-Length": str(held.size)})


def _headers(held: Held) -> dict[str, str]:
    return {
        "Content-Type": held.media_type,
        "Docker-Content-Digest": held.digest,
        "ETag": f'"{held.digest}"',
    }


async def put(call: Call) -> web.StreamResponse:
    """PUT. Unpacking its layers may take a while; the answer comes when the image can be run."""
    desk, request, name, word = call
    reference = checked_reference(word, new=True)
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type and _TYPE.fullmatch(media_type) is None:
        raise Refusal(400, "MANIFEST_INVALID", "malformed Content-Type")
    data = b"".join([piece async for batch in pieces(request, DOCUMENT_MAX) for piece in batch])
    if is_digest(reference) and reference != f"sha256:{sha256(data)}":
        raise Refusal(400, "DIGEST_INVALID", f"the manifest's digest is sha256:{sha256(data)}")
    async with desk.unpacking:
        with refusing("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID"):
            received = await desk.run(desk.shelf.put_manifest, name, reference, data, media_type)
    headers = {
        "Location": f"/v2/{name}/manifests/{received.digest}",
        "Docker-Content-Digest": received.digest,
    }
    if received.subject:
        headers["OCI-Subject"] = received.subject
    return web.Response(status=201, headers=headers)


async def delete(call: Call) -> web.StreamResponse:
    """DELETE, of a tag or of a manifest with all its tags."""
    with refusing("MANIFEST_UNKNOWN"):
        await call.desk.run(call.desk.shelf.delete_manifest, call.name, checked_reference(call.word))
    return web.Response(status=202)
