"""Image references in Docker's normal form: `alpine` means `docker.io/library/alpine:latest`.

    reference  = [ registry "/" ] repository [ ":" tag ] [ "@" digest ]
    registry   a first component that holds "." or ":" or upper case, or is "localhost"; else docker.io
    repository lower-case components joined by "/"; a single one on docker.io gets "library/"

The grammar, its limits and the error texts are those of distribution/reference, which clients match on.
"""

from tiffin.errors import InvalidArgument
from tiffin.oci.digest import is_digest
from tiffin.typed import NamedTuple

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_NAME_MAX = 255
_INPUT_MAX = 4096

_DIGITS = "0123456789"
_LOWER = f"abcdefghijklmnopqrstuvwxyz{_DIGITS}"
_WORD = f"ABCDEFGHIJKLMNOPQRSTUVWXYZ{_LOWER}"
_HEX = f"abcdef{_DIGITS}"
_TAG_MAX = 128
# Neighbours that no separator of a repository's component is made of: those are ".", "_", "__" and any run of "-".
_APART = ("..", "___", "._", "_.", ".-", "-.", "_-", "-_")


class Reference(NamedTuple):
    """A checked reference. `tag` or `digest` may be "" but `parse_reference` never leaves both so.
    `str()` is the full form, which parses to the same value."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()

    def familiar_name(self) -> str:
        """The repository as people write it: `alpine`, `user/app`, `ghcr.io/user/app`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        short = self.repository.removeprefix(_OFFICIAL)
        return self.repository if "/" in short else short

    def familiar(self) -> str:
        """The form that Docker prints: `alpine:latest`, `ghcr.io/user/app:1`."""
        return self.familiar_name() + self._suffix()


def parse_reference(text: str) -> Reference:
    """The reference that a user's `text` means; without tag and digest the tag is `latest`.
    Raises InvalidArgument with Docker's words."""
    if len(text) > _INPUT_MAX:
        raise InvalidArgument("invalid reference format: longer than 4096 characters")
    if len(text) == 64 and _consists(text, _HEX):
        raise InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings; "
            f"name an image ID as sha256:{text[:12]}..."
        )
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise InvalidArgument(f"invalid reference format: {shown(text)}")
    registry, path = _split_registry(rest)
    repository, colon, tag = path.partition(":")
    if colon and not _is_tag(tag):
        raise InvalidArgument(f"invalid reference format: {shown(text)}")
    if repository.lower() != repository:
        raise InvalidArgument(
            f"invalid reference format: repository name ({shown(repository)}) must be lowercase"
        )
    if not all(map(_is_component, repository.split("/"))) or not _is_registry(registry):
        raise InvalidArgument(f"invalid reference format: {shown(text)}")
    if len(repository) + len(registry) + 1 > _NAME_MAX:
        raise InvalidArgument("repository name must not be more than 255 characters")
    return Reference(registry, repository, tag or ("" if digest else DEFAULT_TAG), digest)


def split_full(text: str) -> Reference:
    """The reference that `str()` made `text` of, such as the store keeps. What is no full form is not noticed."""
    name, _, digest = text.partition("@")
    registry, _, path = name.partition("/")
    repository, _, tag = path.partition(":")
    return Reference(registry, repository, tag, digest)


# The grammar of distribution/reference, by hand: regular expressions cost a short command 5 ms to load, 1 ms each.


def _consists(text: str, alphabet: str) -> bool:
    """Whether it is one character or more, all of that alphabet."""
    return bool(text) and not text.strip(alphabet)


def _is_tag(text: str) -> bool:
    """[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"""
    return len(text) <= _TAG_MAX and _consists(text, f"{_WORD}_.-") and text[0] not in ".-"


def _is_component(text: str) -> bool:
    """Lower-case letters and digits, with separators between them."""
    if not _consists(text, f"{_LOWER}._-") or text[0] in "._-" or text[-1] in "._-":
        return False
    return not any(pair in text for pair in _APART)


def _is_registry(text: str) -> bool:
    """Labels with dots between, or an address in brackets; and a port."""
    if text.startswith("["):
        address, closed, port = text[1:].partition("]")
        named = bool(closed) and _consists(address, f"{_HEX}ABCDEF:") and port[:1] in ("", ":")
        colon, port = port[:1], port[1:]
    else:
        host, colon, port = text.partition(":")
        named = all(
            _consists(label, f"{_WORD}-") and "-" not in label[0] + label[-1] for label in host.split(".")
        )
    return named and (not colon or _consists(port, _DIGITS))


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    named = any(mark in first for mark in ".:") or first == "localhost" or first.lower() != first
    registry, path = (first, rest) if slash and named else (DEFAULT_REGISTRY, text)
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = _OFFICIAL + path
    return registry, path


def shown(text: str) -> str:
    """`text` as an error message may carry it: bounded, one line, nothing that drives a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
