"""What every `inspect` prints: JSON, or a template applied to each thing found.

Docker's templates work on Go structs, whose maps and slices show when they are nil and whose fields sometimes have
other names than in the JSON. `_typed` gives documents that form.
"""

import json
import sys
from collections.abc import Callable, Iterable

from tiffin.cli.output import UsageError, escape, print_error
from tiffin.errors import TiffinError
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.parser import CommandParser
    from tiffin.cli.template import Template

FORMAT_HELP = "json (one line), or a Go template such as '{{.Id}}'"

# Which members are maps to Docker, the rest being structs; and which are slices: null shows what they are not.
_TEXTS = frozenset(("Labels", "Options", "DriverOpts", "Sysctls", "Tmpfs", "Annotations", "StorageOpt"))
_MAPS = frozenset(("ExposedPorts", "Volumes", "Ports", "PortBindings", "Networks", "Data"))
_LISTS = frozenset(
    (
        "Aliases", "Args", "Binds", "CapAdd", "CapDrop", "Cmd", "Devices", "Dns", "DnsOptions", "DnsSearch",
        "Entrypoint", "Env", "ExecIDs", "ExtraHosts", "GroupAdd", "Links", "Mounts", "OnBuild", "RepoDigests",
        "RepoTags", "SecurityOpt", "Shell", "Ulimits", "VolumesFrom",
    )
)  # fmt: skip
# Names of Go's fields that differ from those in the JSON; `docker inspect` knows both.
_ALIASES = {
    "ID": "Id", "NanoCPUs": "NanoCpus", "CPUShares": "CpuShares", "CPUPeriod": "CpuPeriod", "CPUQuota": "CpuQuota",
    "DNS": "Dns", "DNSOptions": "DnsOptions", "DNSSearch": "DnsSearch", "Layer": "Layers", "PidMode": "PidMode",
}  # fmt: skip


def add_format(parser: "CommandParser") -> None:
    """The option `-f, --format`."""
    parser.add_argument("-f", "--format", metavar="FORMAT", help=FORMAT_HELP)


def show(names: Iterable[str], call: Callable[[str], dict[str, Any]], form: str) -> int:
    """Print what was found, then an error line for each name that was not; 1 if any was not."""
    template = None if form in ("", "json") else _template(form)
    found, errors = [], []
    for name in names:
        try:
            found.append(call(name))
        except TiffinError as error:
            errors.append(error)
    if template is not None:
        _apply(template, found)
    elif form == "json":
        print(json.dumps(found, separators=(",", ":"), ensure_ascii=True))
    else:
        print(json.dumps(found, indent=4, ensure_ascii=True))
    sys.stdout.flush()
    for missed in errors:
        print_error(str(missed))
    return 1 if errors else 0


def _template(text: str) -> "Template":
    """Docker's exit code for a template that cannot be read."""
    from tiffin.cli.formatting import template
    from tiffin.cli.template import TemplateError

    try:
        return template(text)
    except TemplateError as error:
        raise UsageError(str(error), 64) from error


def _apply(template: "Template", found: Iterable[dict[str, Any]]) -> None:
    from tiffin.cli.template import TemplateError

    try:
        lines = [template.render(_typed(document), clean=escape) for document in found]
    except TemplateError as error:
        print()  # as Docker does
        raise TemplateError(f"template parsing error: {error}") from error
    print("\n".join(lines))


def _typed(value: Any, name: str = "", parent: str = "") -> Any:
    """`value`, the member `name` of the member `parent`, as a template takes it."""
    from tiffin.cli.template import NilList, NilMap, Struct, Texts

    texts = name in _TEXTS or (name == "Config" and parent == "LogConfig")
    if value is None:
        return NilMap() if texts or name in _MAPS else NilList() if name in _LISTS else None
    if isinstance(value, list):
        return [_typed(item, "", name) for item in value]
    if not isinstance(value, dict):
        return value
    if texts:
        return Texts(value)
    if name in _MAPS and parent != "Volumes":
        return {key: _typed(item, "", name) for key, item in value.items()}
    typed = Struct({key: _typed(item, key, name) for key, item in value.items()})
    typed.aliases = _ALIASES
    return typed
