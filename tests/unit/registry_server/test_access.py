"""Passwords are checked right, not too often and not too many at once."""

import asyncio
import base64
from pathlib import Path

import bcrypt
import pytest

from tests.registries import htpasswd
from tiffin.registry.server import access
from tiffin.registry.server.access import Access
from tiffin.registry.server.errors import Refusal


class Counted:
    """bcrypt, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checks = 0
        real = bcrypt.checkpw

        def checkpw(password: bytes, stored: bytes) -> bool:
            self.checks += 1
            return real(password, stored)

        monkeypatch.setattr(bcrypt, "checkpw", checkpw)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_right_password_is_remembered_for_a_while_and_a_wrong_one_never(
    tmp_path: Path, counted: Counted
) -> None:
    now = 0.0

    async def ask() -> None:
        nonlocal now
        users = Access(str(htpasswd(tmp_path / "users", {"alice": "secret"})), clock=lambda: now)
        for _ in range(5):
            await users.check(header("alice", "secret"))
        assert counted.checks == 1
        now += 301
        await users.check(header("alice", "secret"))
        assert counted.checks == 2
        for _ in range(3):
            with pytest.raises(Refusal) as refused:
                await users.check(header("alice", "wrong"))
            assert refused.value.code == "UNAUTHORIZED"
        assert counted.checks == 5

    asyncio.run(ask())


def test_an_unknown_user_takes_as_many_checks_as_a_known_one(tmp_path: Path, counted: Counted) -> None:
    async def ask() -> None:
        users = Access(str(htpasswd(tmp_path / "users", {"alice": "secret"})))
        with pytest.raises(Refusal):
            await users.check(header("nobody", "secret"))

    asyncio.run(ask())
    assert counted.checks == 1


def test_what_is_remembered_is_bounded(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_REMEMBERED_MAX", 3)

    async def ask() -> None:
        words = {f"user{n}": "secret" for n in range(6)}
        users = Access(str(htpasswd(tmp_path / "users", words)))
        for user in words:
            await users.check(header(user, "secret"))
        assert len(users._right) == 3

    asyncio.run(ask())


def test_many_guesses_at_once_are_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_CHECKS_WAITING", 4)

    async def guess() -> list[object]:
        users = Access(str(htpasswd(tmp_path / "users", {"alice": "secret"})))
        guesses = (users.check(header("alice", f"guess{n}")) for n in range(12))
        return list(await asyncio.gather(*guesses, return_exceptions=True))

    codes = [found.code for found in asyncio.run(guess()) if isinstance(found, Refusal)]
    assert sorted(set(codes)) == ["TOOMANYREQUESTS", "UNAUTHORIZED"]
    assert codes.count("UNAUTHORIZED") == 4


def test_a_password_is_what_bcrypt_sees_of_it(tmp_path: Path) -> None:
    """htpasswd hashes the first 72 bytes."""
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"# a comment\n\nalice:{stored.replace('$2b$', '$2y$')}\n")

    async def ask() -> None:
        await Access(str(tmp_path / "users")).check(header("alice", "x" * 100))

    asyncio.run(ask())
