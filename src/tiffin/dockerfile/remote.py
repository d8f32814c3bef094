"""What ADD takes from elsewhere: URLs and git repositories, told from paths by their look alone."""

from __future__ import annotations

import re

# Compiled when they are needed: few Dockerfiles have anything with a colon.
_HTTP = r"https?://"
_GIT = r"(git|ssh)://|[a-z0-9_.-]+@[^/:\s]+:|https?://[^/?#]+/[^?#]*\.git(?=$|[?#])"


def is_git(source: str) -> bool:
    """`git://`, `ssh://`, `git@host:path`, and http(s) whose path ends in `.git`."""
    return ":" in source and bool(re.match(_GIT, source, re.IGNORECASE))


def is_url(source: str) -> bool:
    """http and https, where it is no git repository."""
    return ":" in source and bool(re.match(_HTTP, source, re.IGNORECASE)) and not is_git(source)
