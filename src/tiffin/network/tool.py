"""Running `nft`, and looking at what another tool says. The calling thread's network namespace is theirs."""

from __future__ import annotations

import os

from tiffin.errors import EngineError, Unsupported

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
_OUTPUT_MAX = 1 << 20


def run_nft(script: str) -> None:
    """Have nft carry out a script, as one transaction. Raises Unsupported without nft, EngineError with its
    first line of complaint. Waits for its own child only."""
    tool = find_tool("nft")
    if not tool:
        raise Unsupported(
            f"nft not found: apt-get install nftables, or use --network host or none{_beside()}"
        )
    status, said = _run(tool, ("-f", "-"), script.encode())
    if status:
        code = os.waitstatus_to_exitcode(status)
        line = next(iter(said.splitlines()), "")
        raise EngineError(f"the firewall refused a change: nft exited with {code}: {line}")


def output_of(tool: str, *words: str) -> str:
    """What a tool prints; "" when it fails."""
    status, said = _run(tool, words, b"")
    return "" if status else said


def find_tool(name: str) -> str:
    """Its path, or ""."""
    paths = (f"{directory}/{name}" for directory in _PATH.split(":"))
    return next((path for path in paths if os.access(path, os.X_OK)), "")


def _beside() -> str:
    if not find_tool("iptables"):
        return ""
    return " (iptables is here, but tiffin's rules are nftables' alone; the two live side by side)"


def _run(tool: str, words: tuple[str, ...], content: bytes) -> tuple[int, str]:
    """Its wait status and what it said, on either output."""
    source = _memory_file(content)
    try:
        said = _memory_file(b"")
        try:
            moves = [
                (os.POSIX_SPAWN_DUP2, source, 0),
                (os.POSIX_SPAWN_DUP2, said, 1),
                (os.POSIX_SPAWN_DUP2, said, 2),
            ]
            environment = {"PATH": _PATH, "LC_ALL": "C"}
            pid = os.posix_spawn(tool, [tool, *words], environment, file_actions=moves, setsigmask=())
            _, status = os.waitpid(pid, 0)
            return status, os.pread(said, _OUTPUT_MAX, 0).decode(errors="replace")
        finally:
            os.close(said)
    finally:
        os.close(source)


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("nft", os.MFD_CLOEXEC)
    os.pwrite(fd, content, 0)
    return fd
