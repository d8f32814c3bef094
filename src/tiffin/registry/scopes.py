"""What a request needs leave for (Docker's token specification, "scope").

repository:library/alpine:pull,push     some actions on one repository
registry:catalog:*                      the list of repositories
"""

from __future__ import annotations

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    Scope = frozenset[tuple[str, str, str]]  # (type, name, one action)

NONE: Scope = frozenset()
CATALOG: Scope = frozenset({("registry", "catalog", "*")})
_TEXT_MAX = 4096
_PARTS_MAX = 64


def repository(name: str, *actions: str) -> Scope:
    """Leave for `actions` (pull, push, delete) on the repository `name`, which has no registry in front."""
    return frozenset(("repository", name, action) for action in actions)


def parse(text: str) -> Scope:
    """The scope of a challenge: entries apart by blanks; what is malformed in it is left out."""
    found: set[tuple[str, str, str]] = set()
    for entry in text[:_TEXT_MAX].split()[:_PARTS_MAX]:
        kind, _, rest = entry.partition(":")
        name, _, actions = rest.rpartition(":")  # a name may hold a port
        if kind and name:
            found.update((kind, name, action) for action in actions.split(",")[:_PARTS_MAX] if action)
    return frozenset(found)


def texts(scope: Scope) -> list[str]:
    """One text for each thing that `scope` names, as a token server wants them."""
    actions: dict[tuple[str, str], list[str]] = {}
    for kind, name, action in sorted(scope):
        actions.setdefault((kind, name), []).append(action)
    return [f"{kind}:{name}:{','.join(found)}" for (kind, name), found in actions.items()]
