"""What ADD takes from elsewhere: URLs and git repositories, told from paths by their look alone."""

from __future__ import annotations

import re

_HTTP = re.compile(r"https?://", re.IGNORECASE)
_GIT = re.compile(r"(git|ssh)://|[a-z0-9_.-]+@[^/:\s]+:", re.IGNORECASE)
_REPOSITORY = re.compile(r"https?://[^/?#]+/[^?#]*\.git(?=$|[?#])", re.IGNORECASE)


def is_git(source: str) -> bool:
    """`git://`, `ssh://`, `git@host:path`, and http(s) whose path ends in `.git`."""
    return bool(_GIT.match(source) or _REPOSITORY.match(source))


def is_url(source: str) -> bool:
    """http and https, where it is no git repository."""
    return bool(_HTTP.match(source)) and not is_git(source)
