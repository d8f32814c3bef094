"""`tiffin events`."""

import time

from tiffin.cli import output
from tiffin.cli.commands.logs import moment
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.state.events import Event

DESCRIPTION = (
    "Show what happens to containers and images, as it happens; with --since what happened before, too."
)
EXAMPLES = """\
tiffin events
tiffin events --since 1h --until 0s --filter container=web
tiffin events --filter event=die --format '{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}'
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="event, type, container, image, ...",
    )
    add("--format", default="", metavar="FORMAT", help="json, or a Go template such as '{{.Action}}'")
    add(
        "--since",
        default="",
        metavar="TIME",
        help="from a time on: 2026-01-31T12:00:00Z, seconds, or 10m ago",
    )
    add("--until", default="", metavar="TIME", help="up to a time")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    show = _format(args.format)
    since, until = moment(args.since, "--since"), moment(args.until, "--until")
    for event in session.engine.events(since=since, until=until, filters=args.filter):
        print(show(event), flush=True)
    return 0


def document(event: "Event") -> dict[str, Any]:
    """Docker's JSON message (Engine API, GET /events)."""
    found: dict[str, Any] = {}
    if event.type in ("container", "image"):
        found = {"status": event.action, "id": event.actor}
        if event.type == "container":
            found["from"] = event.attributes.get("image", "")
    return found | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time // 10**9,
        "timeNano": event.time,
    }


def _format(text: str) -> Any:
    if not text:
        return _line
    from tiffin.cli.template import Struct, Template, json_text

    if text == "json":
        return lambda event: json_text(document(event))
    template = Template(text)

    def render(event: "Event") -> str:
        found = document(event)
        actor = Struct(ID=event.actor, Attributes=dict(sorted(event.attributes.items())))
        fields = {"Type": event.type, "Action": event.action, "Actor": actor, "Scope": "local", "Time": found["time"],
                  "TimeNano": event.time, "Status": event.action, "ID": event.actor,
                  "From": found.get("from", "")}  # fmt: skip
        return template.render(Struct(fields), clean=output.escape)

    return render


def _line(event: "Event") -> str:
    seconds, rest = divmod(event.time, 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    when = (
        time.strftime("%Y-%m-%dT%H:%M:%S", local)
        + f".{rest:09}"
        + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")
    )
    told = ", ".join(f"{name}={value}" for name, value in sorted(event.attributes.items()))
    return output.escape(f"{when} {event.type} {event.action} {event.actor}" + (f" ({told})" if told else ""))
