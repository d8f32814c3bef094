"""A container's log: one writer, the supervisor, and any number of readers.

output ─▶ LineLog (lines held until whole, rotation) ─┬ jsonfile   Docker's json-file, read by other tools
                                                      └ local      blocks of raw bytes: smaller and quicker
syslog, journald   a `local` log of the same, so that it can be read here, and each line sent on
ring               in front of any of them: mode non-blocking
reader             entries from either end, from a time on, and as the log grows
"""

from tiffin.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord


class LogWriter(Protocol):
    """What a session writes to. Never raises for what the disk or a log server does: what cannot be kept is dropped,
    and the container runs on."""

    def write(self, stream: str, data: bytes) -> None:
        """Log what came from `stream`, "stdout" or "stderr"."""

    def flush(self) -> None:
        """The streams have ended: log unfinished lines as they are."""

    def close(self) -> None:
        """Flush and close. Idempotent."""


def open_log(directory: str, record: "ContainerRecord") -> "LogWriter | None":
    """The writer of the record's log driver, in the container's `directory`; None for driver none."""
    config = record.log
    if config.driver == "none":
        return None
    if config.driver == "json-file":
        from tiffin.supervisor.logs.jsonfile import JsonLog

        log: LogWriter = JsonLog(directory, config)
    else:
        from tiffin.supervisor.logs.local import LocalLog

        log = LocalLog(directory, config)
        if config.driver == "syslog":
            from tiffin.supervisor.logs.syslog import Syslog

            log = Syslog(log, record)
        elif config.driver == "journald":
            from tiffin.supervisor.logs.journald import Journald

            log = Journald(log, record)
    if config.options.get("mode") == "non-blocking":
        from tiffin.supervisor.logs.ring import Ring

        log = Ring(log, config)
    return log
