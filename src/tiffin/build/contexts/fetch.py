"""What a URL or git reference stands for now, and having it at hand. Both in a worker.

fetch    finds out: of a URL what it holds (a download, unless we have it and the server says it is the same), of a
         git reference the commit. Its key goes by that alone, so that a step which takes it is found in the cache
bring    puts it into a directory, when a step is executed
"""

from __future__ import annotations

import os

from tiffin.build.contexts.inputs import Lent
from tiffin.build.copying.place import CREATE, copy_data
from tiffin.build.planning.graph import FetchWork
from tiffin.build.planning.keys import step_key
from tiffin.build.workers import Channel
from tiffin.dockerfile import remote
from tiffin.errors import InvalidArgument
from tiffin.state import Layout
from tiffin.typed import Any


def fetch(layout: Layout, work: FetchWork, directory: str, lent: Lent, channel: Channel) -> dict[str, Any]:
    """The worker's result for `work`: a key, and what `bring` is to be told. Downloads are kept below `directory`.
    Raises NotFound, TransferError, PermissionDenied, Corrupt (not the checksum)."""
    if remote.is_git(work.url):
        from tiffin.build.contexts import git

        commit, repository = git.resolve(git.parse(work.url), work.checksum, lent)
        key = step_key("git", "", [commit, repository.subdirectory, work.keep_git_dir])
        channel.log(2, f"{commit}\n".encode())
        told: dict[str, Any] = {"git": list(repository), "commit": commit, "keep": work.keep_git_dir}
    elif remote.is_url(work.url):
        from tiffin.build.contexts import download

        found = download.download(layout, work.url, work.checksum, directory, channel)
        key = step_key("http", "", [found.digest, found.name, found.mtime])
        told = {"file": found.path, "name": found.name, "mtime": found.mtime}
    else:
        raise InvalidArgument(f"{work.url!r} is neither a URL nor a git repository")
    return {"layer": None, "keep": False, "key": key, "told": told}


def bring(told: dict[str, Any], target: str, lent: Lent) -> str:
    """A directory with what was fetched: the file `told["name"]`, or a checkout. It is `target`, which is not there
    yet, or something below it."""
    if "git" in told:
        from tiffin.build.contexts import git

        return git.checkout(git.Repository(*told["git"]), told["commit"], target, lent, keep=told["keep"])
    os.mkdir(target, 0o700)
    path = f"{target}/{told['name']}"
    reader = os.open(told["file"], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writer = os.open(path, CREATE, 0o600)
        try:
            copy_data(reader, writer, os.fstat(reader))
            os.utime(writer, ns=(told["mtime"], told["mtime"]))
        finally:
            os.close(writer)
    finally:
        os.close(reader)
    return target
