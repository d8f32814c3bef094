"""The states of a container, as Docker names them, and what each of them allows.

        create            start                 first process runs
    ──────────▶ created ───────▶ starting ───────────────────────▶ running
                   ▲                │ start failed                    │ process ended
                   └────────────────┘                                 ▼
                 removing ◀─────────────────── rm ──────────────── exited

    running ──pause──▶ paused ──unpause, or a signal that is to end it──▶ running
    running ──ended, to run again──▶ restarting ──its time has come──▶ starting

`starting` is ours: a supervisor is at work and things may already exist that it must take down. It is shown
as `created`, which is what Docker shows then. `dead` is a removal that failed half way; it can only be removed.
"""

from tiffin.errors import Conflict
from tiffin.typed import Final


class State:
    """The state column's values."""

    CREATED: Final = "created"
    STARTING: Final = "starting"
    RUNNING: Final = "running"
    PAUSED: Final = "paused"
    RESTARTING: Final = "restarting"
    EXITED: Final = "exited"
    REMOVING: Final = "removing"
    DEAD: Final = "dead"


# A supervisor owns rows in these states; when its lock is free it died and somebody else must clean up.
SUPERVISED = (State.STARTING, State.RUNNING, State.PAUSED, State.RESTARTING, State.REMOVING)
# There is a first process.
LIVE = (State.RUNNING, State.PAUSED)


def can_start(status: str) -> bool:
    """Whether `start` may begin: the container exists at rest."""
    return status in (State.CREATED, State.EXITED)


def can_kill(status: str) -> bool:
    """Whether there is a first process to signal."""
    return status in LIVE


def can_stop(status: str) -> bool:
    """Whether there is a first process, or will be again."""
    return status in LIVE or status == State.RESTARTING


def check_takes_part(container_id: str, status: str, what: str) -> None:
    """Raise Conflict, in Docker's words, unless processes of the container can be joined: `what` is "exec" or
    "attach"."""
    if status == State.PAUSED:
        if what == "attach":
            raise Conflict("You cannot attach to a paused container, unpause it first")
        raise Conflict(f"Container {container_id} is paused, unpause the container before {what}")
    if status == State.RESTARTING:
        if what == "attach":
            raise Conflict("You cannot attach to a restarting container, wait until it is running")
        raise Conflict(f"Container {container_id} is restarting, wait until the container is running")
    if status != State.RUNNING:
        if what == "attach":
            raise Conflict("You cannot attach to a stopped container, start it first")
        raise Conflict(f"Container {container_id} is not running")


def can_remove(status: str) -> bool:
    """Whether `rm` may go ahead without force."""
    return status in (State.CREATED, State.EXITED, State.DEAD, State.REMOVING)


def shown(status: str, restarts: int = 0) -> str:
    """The name that Docker's clients know; `restarts`: how often in a row its policy has started it again."""
    if status == State.STARTING:
        return State.RESTARTING if restarts else State.CREATED
    return status
