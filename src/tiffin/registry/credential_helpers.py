"""The protocol of credential helpers: `docker-credential-NAME get|store|erase|list`, words on standard input, JSON on
standard output, exit code 0; a helper that fails says why on standard output.

A helper is found on the absolute directories of $PATH, by a name that is no path. Its standard error is ours, so that
it can ask for a passphrase. What it may print and how long it may take are bounded.
"""

from __future__ import annotations

import os
import re
import time

from tiffin.errors import EngineError, InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from subprocess import Popen

OUTPUT_MAX = 1 << 20
TIMEOUT = 120.0
"""seconds; somebody may have to type a passphrase"""
NOT_FOUND = "credentials not found in native keychain"
TOKEN_USER = "<token>"  # noqa: S105 - the user name that says that the secret is an identity token
_FACE = "docker-credential-"


class Secret(NamedTuple):
    """What a helper keeps for one server."""

    username: str
    secret: str

    def __repr__(self) -> str:
        return f"Secret(username={self.username!r}, secret=***)"


class Helper:
    """One helper. Every method raises EngineError when it cannot be run, takes too long, or fails."""

    def __init__(self, name: str, source: str, timeout: float = TIMEOUT) -> None:
        """`name` as the configuration file has it; `source` is that file, for messages. Raises InvalidArgument for a
        name that cannot be one."""
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or len(name) > 200:
            raise InvalidArgument(
                f"{source}: {name[:100]!r} cannot be a credential helper: want letters, digits, '_', '.' and '-'"
            )
        self.program = _FACE + name
        self._source, self._timeout = source, timeout

    def get(self, server: str) -> Secret | None:
        """What is kept for `server`; None when nothing is."""
        code, out = self._run("get", server.encode())
        if code != 0:
            if out.strip().decode(errors="replace") == NOT_FOUND:
                return None
            raise self._failure("get", code, out)
        document = self._document("get", out)
        username, secret = document.get("Username"), document.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise EngineError(f"{self.program} get: the answer has no Username and Secret")
        return Secret(username, secret)

    def store(self, server: str, kept: Secret) -> None:
        """Keep `kept` for `server`, in place of what was there."""
        import json

        words = json.dumps({"ServerURL": server, "Username": kept.username, "Secret": kept.secret})
        code, out = self._run("store", words.encode())
        if code != 0:
            raise self._failure("store", code, out, kept.secret)

    def erase(self, server: str) -> None:
        """Forget `server`; nothing happens when it is not known."""
        code, out = self._run("erase", server.encode())
        if code != 0 and out.strip().decode(errors="replace") != NOT_FOUND:
            raise self._failure("erase", code, out)

    def list(self) -> dict[str, str]:
        """Server → user name."""
        code, out = self._run("list", b"")
        if code != 0:
            raise self._failure("list", code, out)
        return {server: str(name) for server, name in self._document("list", out).items()}

    def _document(self, verb: str, out: bytes) -> dict[str, Any]:
        import json

        try:
            document = json.loads(out or b"{}")
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):  # its text stays out of the message: it may hold the secret
            raise EngineError(f"{self.program} {verb}: the answer is not a JSON object") from None
        return document

    def _failure(self, verb: str, code: int, out: bytes, secret: str = "") -> EngineError:
        """Its own words, unless they look like an answer with a secret in it."""
        text = " ".join(out[:500].decode(errors="replace").split())
        if "{" in text or (secret and secret in text):
            text = ""
        return EngineError(
            f"{self.program} {verb} failed{f': {text}' if text else f' with exit code {code}'} "
            f"({self._source} names it)"
        )

    def _run(self, verb: str, words: bytes) -> tuple[int, bytes]:
        """Exit code and output. The words lie in a file of memory: no pipe that a helper could leave unread."""
        import subprocess

        program = self._find()
        stdin = os.memfd_create("credential", os.MFD_CLOEXEC)
        try:
            with open(stdin, "wb", closefd=False) as file:
                file.write(words)
            os.lseek(stdin, 0, os.SEEK_SET)
            with subprocess.Popen([program, verb], stdin=stdin, stdout=subprocess.PIPE) as process:
                try:
                    out = self._read(process, verb)
                    return process.wait(), out
                except BaseException:
                    process.kill()
                    raise
        except OSError as error:
            raise EngineError(f"cannot run {program}: {error.strerror}") from error
        finally:
            os.close(stdin)

    def _read(self, process: Popen[bytes], verb: str) -> bytes:
        """All that it prints, until it ends."""
        import select

        assert process.stdout is not None
        fd, out, deadline = process.stdout.fileno(), bytearray(), time.monotonic() + self._timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise EngineError(f"{self.program} {verb} did not answer in {self._timeout:.0f} seconds")
            chunk = os.read(fd, 65536)
            if not chunk:
                break
            out += chunk
            if len(out) > OUTPUT_MAX:
                raise EngineError(f"{self.program} {verb} printed more than {OUTPUT_MAX >> 10} KiB")
        from subprocess import TimeoutExpired

        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except TimeoutExpired:
            raise EngineError(f"{self.program} {verb} did not end in {self._timeout:.0f} seconds") from None
        return bytes(out)

    def _find(self) -> str:
        for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
            path = f"{directory}/{self.program}"
            if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        raise EngineError(
            f"no {self.program} on $PATH, which {self._source} names as credential helper: install it, or take its "
            "name out of that file"
        )
