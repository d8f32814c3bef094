"""The addresses of one registry in the order in which they are tried."""

from __future__ import annotations

from tiffin.errors import InvalidArgument, TiffinError
from tiffin.registry.response import Unreachable
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from tiffin.registry.auth import Session

    T = TypeVar("T")


class Route:
    """Sessions with the mirrors of a registry, then with itself over https, then over http where that is allowed.

    A mirror that fails in whatever way is passed over: it is the registry that is asked. From the registry's own https
    to its http (both are listed only for an insecure one) there is a way only when no connection came about: what it
    *answered* is its answer. An address that could not be reached is tried after the others from then on.
    """

    def __init__(self, sessions: tuple[Session, ...]) -> None:
        self._sessions = sessions

    def sessions(self) -> list[Session]:
        """Those to try, first to last."""
        return sorted(self._sessions, key=lambda session: session.unreachable)

    def first(self, work: Callable[[Session], T]) -> T:
        """The result of `work` with the first session that it succeeds with. Raises the registry's own error when
        none does."""
        failures: list[tuple[Session, TiffinError]] = []
        for session in self.sessions():
            try:
                found = work(session)
            except InvalidArgument:
                raise
            except TiffinError as error:
                failures.append((session, error))
                if isinstance(error, Unreachable):
                    session.unreachable = True
                elif not session.endpoint.mirror:
                    break
                session.transport.trace(f"* {session.home}: {error}")
            else:
                session.unreachable = False
                return found
        raise _told(failures)


def _told(failures: list[tuple[Any, TiffinError]]) -> TiffinError:
    """The error to show of several: the registry's own; all of its addresses when none could be reached."""
    own = [error for session, error in failures if not session.endpoint.mirror] or [failures[-1][1]]
    if len(own) == 1 or not isinstance(own[-1], Unreachable):
        return own[-1]
    told = Unreachable("; ".join(dict.fromkeys(str(error) for error in own)))
    told.worth_retrying = own[-1].worth_retrying
    return told
