"""The kernel's calls that Python's library lacks: one call, one function, errors as OSError with the path.

    libc         system calls by number; the only user of ctypes
    mounts       mounts by descriptor: fsopen, fsmount, open_tree, move_mount, mount_setattr
    paths        openat2: walking, making and removing what a container had a hand in
    namespaces   unshare, setns
    process      pidfds, prctl, close_range, capabilities, start times

Nothing here decides anything, logs, retries beyond EINTR (and openat2's EAGAIN), or knows a container.
"""
