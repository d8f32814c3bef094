"""`--chown=user[:group]`: names and numbers to ids, by the files of the image that is being built."""

from __future__ import annotations

from tiffin.runtime.users import resolve_user


def find_owner(root: int, text: str) -> tuple[int, int]:
    """(uid, gid) in the tree `root`. A user by name alone brings the group that /etc/passwd gives; a number
    alone is the group's number too, as Docker has it. InvalidArgument for a name that is not there, or no id
    at all.
    """
    user, colon, group = text.partition(":")
    if user.isascii() and user.isdigit() and not group:
        text = f"{user}:{user}"
    elif colon and not group:
        text = user
    found = resolve_user(root, text)
    return found.uid, found.gid
