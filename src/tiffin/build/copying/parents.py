"""`COPY --parents`: which paths a source stands for, when sources keep their directories.

A source may have a pivot, `a/./b/*.c`: what stands before it is not kept. Behind it `**` is any number of directories,
also none; all else is as in `globs`.
"""

from __future__ import annotations

from tiffin.build.copying.globs import component_matcher


def split_pivot(source: str) -> tuple[str, str]:
    """("a", "b/c") of `a/./b/c`, ("", "b/c") of `./b/c`."""
    base, pivot, pattern = source.partition("/./")
    return (base, pattern) if pivot else ("", source)


class PathPattern:
    """The pattern `path`, relative and clean; "" is everything. InvalidArgument for a malformed one."""

    def __init__(self, path: str) -> None:
        self._parts = [
            None if part == "**" else component_matcher(part).fullmatch for part in path.split("/") if part
        ]

    def matches(self, path: str) -> bool:
        """Whether it stands for `path`, or for a directory above it."""
        return self._end in self._walk(path)

    def may_lead_to(self, path: str) -> bool:
        """Whether something below the directory `path` may match."""
        return bool(self._walk(path))

    @property
    def leads_anywhere(self) -> bool:
        """Whether it names anything below, rather than all there is."""
        return bool(self._parts)

    @property
    def _end(self) -> int:
        return len(self._parts)

    def _walk(self, path: str) -> set[int]:
        """How much of the pattern may be behind us at `path`; only its end once that was reached."""
        at = self._beyond({0})
        for name in path.split("/"):
            if self._end in at:
                return {self._end}
            after = set()
            for place in at:
                part = self._parts[place]
                if part is None:
                    after.add(place)
                elif part(name):
                    after.add(place + 1)
            at = self._beyond(after)
        return {self._end} if self._end in at else at

    def _beyond(self, places: set[int]) -> set[int]:
        """With what follows a `**` that stands for nothing."""
        found = set(places)
        for place in sorted(places):
            while place < self._end and self._parts[place] is None:
                place += 1
                found.add(place)
        return found
