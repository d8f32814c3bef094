"""How long a container waits before it runs again."""

FIRST = 0.1  # seconds
LONGEST = 60.0
_STEADY = 10.0  # a run that lasted so long was no failure to start


class Backoff:
    """Docker's: 100 ms, doubled at each restart, at most a minute, and from the beginning after a run of 10 s."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def next(self, lasted: float) -> float:
        """Seconds to wait, counted from the end of a run that lasted `lasted` seconds (of a monotonic clock)."""
        if lasted >= _STEADY:
            self._seconds = 0.0
        self._seconds = min(2 * self._seconds, LONGEST) if self._seconds else FIRST
        return self._seconds
