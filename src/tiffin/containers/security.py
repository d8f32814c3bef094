"""What `--security-opt` says, as a value. A closed list: what is not known is refused, never skipped."""

from collections.abc import Sequence

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.typed import NamedTuple

_YES = ("", "true", "1")
_NO = ("false", "0")


class Security(NamedTuple):
    """`seccomp` is "" for the default profile, "unconfined", or an absolute path."""

    no_new_privileges: bool = False
    seccomp: str = ""


def parse_security_options(options: Sequence[str]) -> Security:
    """Raises InvalidArgument, Unsupported. Docker's both spellings are taken: key=value and key:value."""
    found = Security()
    for option in options:
        at = min((index for index in (option.find("="), option.find(":")) if index >= 0), default=len(option))
        key, value = option[:at], option[at + 1 :]
        if key == "no-new-privileges" and value in (*_YES, *_NO):
            found = found._replace(no_new_privileges=value in _YES)
        elif key == "seccomp" and value:
            if value != "unconfined" and not value.startswith("/"):
                raise InvalidArgument(f"invalid --security-opt {option!r}: give the profile's absolute path")
            found = found._replace(seccomp="" if value == "builtin" else value)
        elif option in ("apparmor=unconfined", "apparmor:unconfined", "label=disable", "label:disable"):
            continue  # what is so anyway: neither is applied
        elif key in ("apparmor", "label", "systempaths", "credentialspec"):
            raise Unsupported(f"--security-opt {option} is not supported; leave it out")
        else:
            raise InvalidArgument(f"invalid --security-opt: {option!r}")
    return found
