"""Who the user is at each registry, from and to Docker's own configuration file.

    {
        "auths":       {"registry.example:5000": {"auth": "<base64 of user:password>"},
                        "https://index.docker.io/v1/": {"auth": ..., "identitytoken": ...}},
        "credHelpers": {"ghcr.io": "pass"},     one registry's credentials are with docker-credential-pass
        "credsStore":  "secretservice"          all others' with docker-credential-secretservice
    }

A helper that is named for a registry goes before the common store, and that before `auths`. The keys of `auths` may
have a scheme and a path, as old files do.
"""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.registry import credential_file
from tiffin.registry.credential_helpers import TOKEN_USER, Helper, Secret
from tiffin.registry.endpoints import HUB, HUB_AUTH_KEY, registry_of
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT_PATHS = ("", "v1", "v2")


class Credential(NamedTuple):
    """What to show a registry: a name and password, or a token that is exchanged (identity) or sent as it is
    (registry). Its `repr` shows no secret."""

    username: str = ""
    secret: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        kinds = [field for field in ("secret", "identity_token", "registry_token") if getattr(self, field)]
        return f"Credential(username={self.username!r}{''.join(f', {kind}=***' for kind in kinds)})"


class Credentials:
    """The credentials of one user. Registries are named as in references, or as a user types them. May be used from
    many threads: the file is read on each call."""

    def __init__(self, path: str = "") -> None:
        """`path` of the configuration file; by default $DOCKER_CONFIG/config.json, else ~/.docker/config.json."""
        self.path = path or credential_file.default_path()

    def get(self, registry: str) -> Credential | None:
        """What is known for `registry`; None when nothing is. Never needs the file to exist. Raises InvalidArgument
        for a malformed file, EngineError when a helper fails."""
        key = key_of(registry)
        document = credential_file.read(self.path)
        helper = self._helper(document, key)
        if helper is not None:
            kept = helper.get(key)
            if kept is None:
                return None
            if kept.username == TOKEN_USER:
                return Credential(identity_token=kept.secret)
            return Credential(kept.username, kept.secret)
        for name in _names_of(document, key):
            return self._decoded(name, document["auths"][name])
        return None

    def store(self, registry: str, credential: Credential) -> str:
        """Keep it, in place of what was there. Returns where: the helper's program, or the file's path, when it lies
        there for everyone to read who can read the file."""
        key = key_of(registry)
        helper = self._helper(credential_file.read(self.path), key)
        entry: dict[str, Any] = {}
        if helper is not None:
            if credential.identity_token:
                helper.store(key, Secret(TOKEN_USER, credential.identity_token))
            else:
                helper.store(key, Secret(credential.username, credential.secret))
        else:
            entry = _encoded(credential)

        def keep(document: dict[str, Any]) -> bool:
            auths = document.setdefault("auths", {})
            if auths is None:
                auths = document["auths"] = {}
            changed = key not in auths or auths[key] != entry
            auths[key] = entry
            return changed

        credential_file.change(self.path, keep)
        return self.path if helper is None else helper.program

    def erase(self, registry: str) -> bool:
        """Forget `registry`, under every name that it has; whether anything was known. A configuration file that is
        not there stays so."""
        key = key_of(registry)
        document = credential_file.read(self.path)
        helper = self._helper(document, key)
        known = helper is not None and helper.get(key) is not None
        if known and helper is not None:
            helper.erase(key)
        names = list(_names_of(document, key, scoped=False))
        known = known or any(document["auths"][name] != {} for name in names)

        def drop(document: dict[str, Any]) -> bool:
            names = list(_names_of(document, key, scoped=False))
            for name in names:
                del document["auths"][name]
            return bool(names)

        if names:
            credential_file.change(self.path, drop)
        return known

    def all(self) -> dict[str, str]:
        """Registry → user name ("" for a token), of the file and of every helper that it names."""
        document = credential_file.read(self.path)
        servers: dict[str, str] = {}
        if document.get("credsStore"):
            servers = Helper(document["credsStore"], self.path).list()
        found = {
            registry: "" if username == TOKEN_USER else username
            for server, username in servers.items()
            if (registry := _whole_registry(server))
        }
        for key in (*(document.get("auths") or {}), *(document.get("credHelpers") or {})):
            registry = _whole_registry(key)
            credential = self.get(registry) if registry and registry not in found else None
            if credential is not None:
                found[registry] = credential.username
        return dict(sorted(found.items()))

    def _helper(self, document: dict[str, Any], key: str) -> Helper | None:
        """The helper in charge of `key`. One that is named as "" means: the file itself."""
        helpers = document.get("credHelpers") or {}
        names = [key, HUB, "index.docker.io"] if key == HUB_AUTH_KEY else [key]
        name = next((helpers[one] for one in names if one in helpers), document.get("credsStore") or "")
        if not isinstance(name, str):
            raise InvalidArgument(f"{self.path}: the credential helper of {key} must be a string")
        return Helper(name, self.path) if name else None

    def _decoded(self, name: str, entry: Any) -> Credential | None:
        """An entry of `auths`; None for an empty one (a helper's place, or an e-mail address alone)."""
        import base64
        import binascii

        values: dict[str, Any] = (
            {key: entry.get(key, "") for key in _ENTRY_KEYS} if isinstance(entry, dict) else {}
        )
        if not values or any(not isinstance(value, str) for value in values.values()):
            raise self._unreadable(name)
        username, secret = values["username"], values["password"]
        if values["auth"]:
            try:
                text = base64.b64decode(values["auth"], validate=True).decode()
            except (binascii.Error, ValueError):  # without its cause, which quotes the bytes
                raise self._unreadable(name) from None
            username, colon, secret = text.partition(":")
            if not colon:
                raise self._unreadable(name)
            secret = secret.rstrip("\0")
        found = Credential(username, secret, values["identitytoken"], values["registrytoken"])
        return found if any(found) else None

    def _unreadable(self, name: str) -> InvalidArgument:
        shown = _registry_in(name) or name
        return InvalidArgument(
            f"{self.path}: what 'auths' has for {shown} is not base64 of USER:PASSWORD; 'tiffin logout {shown}' "
            "removes it"
        )


_ENTRY_KEYS = ("auth", "username", "password", "identitytoken", "registrytoken")


def key_of(registry: str) -> str:
    """The name under which Docker keeps a registry's credentials."""
    registry = registry_of(registry)
    return HUB_AUTH_KEY if registry == HUB else registry


def _encoded(credential: Credential) -> dict[str, Any]:
    import base64

    entry: dict[str, Any] = {}
    if credential.username or credential.secret:
        pair = f"{credential.username}:{credential.secret}"
        entry["auth"] = base64.b64encode(pair.encode()).decode()
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token
    if credential.registry_token:
        entry["registrytoken"] = credential.registry_token
    return entry


def _names_of(document: dict[str, Any], key: str, *, scoped: bool = True) -> Iterator[str]:
    """The keys of `auths` that mean `key`: itself, then the same host with a scheme or the API's path, then, if
    `scoped`, one with another path: podman keeps credentials for part of a registry so, and Docker takes them for the
    whole."""
    auths = document.get("auths") or {}
    if key in auths:
        yield key
    others = [name for name in auths if name != key and _means(name, key)]
    yield from (name for name in others if _path(name) in _ROOT_PATHS)
    if (
        scoped and key != HUB_AUTH_KEY
    ):  # Docker Hub's other paths are docker's own: access-token, refresh-token
        yield from (name for name in others if _path(name) not in _ROOT_PATHS)


def _means(name: str, key: str) -> bool:
    registry = _registry_in(name)
    return bool(registry) and key_of(registry) == key


def _path(name: str) -> str:
    return name.partition("://")[2 if "://" in name else 0].partition("/")[2].strip("/")


def _registry_in(name: str) -> str:
    """The registry that a key of the file, or of a helper, means; "" for a key that means none."""
    try:
        return registry_of(name) if name.strip() else ""
    except InvalidArgument:
        return ""


def _whole_registry(name: str) -> str:
    """The same, but "" for the keys that docker keeps for itself under Docker Hub's name."""
    registry = _registry_in(name)
    return "" if registry == HUB and _path(name) not in _ROOT_PATHS else registry
