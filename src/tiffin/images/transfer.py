"""What a pull or a push tells while it works, one event at a time, from any of its threads."""

from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[["TransferEvent"], None]


def one_at_a_time(report: "Report | None") -> "Report":
    """`report` for use by several threads: none of its calls overlap. Without one, nobody is told."""
    import threading

    if report is None:
        return _nobody
    lock = threading.Lock()
    known = report

    def tell(event: "TransferEvent", /) -> None:
        with lock:
            known(event)

    return tell


def _nobody(event: "TransferEvent", /) -> None:
    """Tells nobody."""


class TransferEvent(NamedTuple):
    """One step of one layer, or of the whole when `id` is "". `status` is in Docker's words ("Downloading", "Pull
    complete", "Layer already exists", "Mounted from library/base"); `current` and `total` are bytes, -1 where they
    mean nothing; `id` is the first 12 digits of the layer's digest."""

    status: str
    id: str = ""
    current: int = -1
    total: int = -1

    def document(self) -> dict[str, Any]:
        """The message of Docker's JSON stream (Engine API, POST /images/create)."""
        found: dict[str, Any] = {"status": self.status}
        if self.id:
            found["id"] = self.id
        if self.current >= 0:
            detail = {"current": self.current}
            if self.total >= 0:
                detail["total"] = self.total
            found["progressDetail"] = detail
        return found
