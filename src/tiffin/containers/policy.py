"""What may change of a container while it exists: the row's `policy`, beside the record, which does not.

One JSON document; what it lacks has its default:

    {"restart": {"name": "on-failure", "retries": 3}, ...}
"""

from tiffin import jsontext as json
from tiffin.containers.record import RestartPolicy
from tiffin.errors import InvalidArgument
from tiffin.typed import Any

NO, ALWAYS, UNLESS_STOPPED, ON_FAILURE = "no", "always", "unless-stopped", "on-failure"
_NAMES = (NO, ALWAYS, ON_FAILURE, UNLESS_STOPPED)


def parse_restart(text: str) -> RestartPolicy:
    """`--restart`: no, always, unless-stopped, on-failure[:N]; "" is no. Raises InvalidArgument, with Docker's
    words."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise InvalidArgument("invalid restart policy format: no policy provided before colon")
    retries = 0
    if count:
        sign, digits = (count[0], count[1:]) if count[0] in "+-" else ("", count)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise InvalidArgument("invalid restart policy format: maximum retry count must be an integer")
        retries = int(sign + digits)
    return check_restart(RestartPolicy(name or NO, retries))


def check_restart(policy: RestartPolicy) -> RestartPolicy:
    """The same. Raises InvalidArgument, with Docker's words."""
    if policy.name not in _NAMES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            f"use one of '{NO}', '{ALWAYS}', '{ON_FAILURE}', or '{UNLESS_STOPPED}'"
        )
    if policy.retries < 0 and policy.name == ON_FAILURE:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if policy.retries and policy.name != ON_FAILURE:
        negative = " and cannot be negative" if policy.retries < 0 else ""
        raise InvalidArgument(
            f"invalid restart policy: maximum retry count can only be used with '{ON_FAILURE}'{negative}"
        )
    return policy


def decode(text: str) -> dict[str, Any]:
    """The whole document of a row."""
    found: dict[str, Any] = json.loads(text)
    return found


def encode(document: dict[str, Any]) -> str:
    """For the row."""
    return json.dumps(document, separators=(",", ":"))


def restart_of(text: str) -> RestartPolicy:
    """The restart policy in a row's document."""
    found = decode(text).get("restart") or {}
    return RestartPolicy(str(found.get("name") or NO), int(found.get("retries") or 0))


def with_restart(text: str, policy: RestartPolicy) -> str:
    """The row's document with another restart policy; a record's default is left out."""
    document = decode(text)
    document.pop("restart", None)
    if policy != RestartPolicy():
        document["restart"] = policy._asdict()
    return encode(document)


def runs_again(policy: RestartPolicy, exit_code: int, restarts: int) -> bool:
    """Whether the policy starts a container again that ended by itself, after `restarts` restarts in a row."""
    if policy.name == ON_FAILURE:
        return exit_code != 0 and (not policy.retries or restarts < policy.retries)
    return policy.name in (ALWAYS, UNLESS_STOPPED)


def starts_at_boot(policy: RestartPolicy, exit_code: int, restarts: int, *, stopped: bool) -> bool:
    """Whether the policy starts a container, which ran before, when the machine does; `stopped`: somebody stopped
    it, and has not started it since."""
    return policy.name == ALWAYS or (not stopped and runs_again(policy, exit_code, restarts))
