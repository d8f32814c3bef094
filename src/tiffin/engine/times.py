"""Times and durations as Docker prints them."""

from tiffin.supervisor.logs.files import timestamp

_ZERO = "0001-01-01T00:00:00Z"
_STEPS = (
    # below so many seconds, one unit is so many, and is called
    (48 * 3600, 3600, "hours"),
    (14 * 86400, 86400, "days"),
    (60 * 86400, 7 * 86400, "weeks"),
    (2 * 365 * 86400, 30 * 86400, "months"),
)


def moment(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds; 0 is Docker's zero time."""
    return timestamp(nanoseconds) if nanoseconds else _ZERO


def human_duration(nanoseconds: int) -> str:
    """ "3 minutes", "About an hour", ... as Docker's `ps` words it."""
    seconds = nanoseconds // 1_000_000_000
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes < 2:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if round(seconds / 3600) == 1:
        return "About an hour"
    for below, unit, name in _STEPS:
        if seconds < below:
            return f"{round(seconds / unit) if unit == 3600 else seconds // unit} {name}"
    return f"{seconds // (365 * 86400)} years"
