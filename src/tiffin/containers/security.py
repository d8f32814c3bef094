"""What `--security-opt` says, as a value. A closed list: what is not known is refused, never skipped."""

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.typed import NamedTuple, Sequence

_YES = ("", "true", "1")
_NO = ("false", "0")


class Security(NamedTuple):
    """`seccomp` is "" for the default profile, "unconfined", or an absolute path; `apparmor` a profile that the
    kernel has loaded, "" for none; `open_paths`: nothing of /proc and /sys is hidden or read-only;
    `writable_cgroups`: it may divide its own cgroup."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    open_paths: bool = False
    writable_cgroups: bool = False


def parse_security_options(options: Sequence[str]) -> Security:
    """Raises InvalidArgument, Unsupported. Docker's both spellings are taken: key=value and key:value."""
    found = Security()
    for option in options:
        at = min((index for index in (option.find("="), option.find(":")) if index >= 0), default=len(option))
        key, value = option[:at], option[at + 1 :]
        if key == "no-new-privileges" and value in (*_YES, *_NO):
            found = found._replace(no_new_privileges=value in _YES)
        elif key == "seccomp" and value:
            if value not in ("unconfined", "builtin") and not value.startswith("/"):
                raise InvalidArgument(f"invalid --security-opt {option!r}: give the profile's absolute path")
            found = found._replace(seccomp="" if value == "builtin" else value)
        elif key == "writable-cgroups" and value in (*_YES, *_NO):
            found = found._replace(writable_cgroups=value in _YES)
        elif key == "systempaths" and value == "unconfined":
            found = found._replace(open_paths=True)
        elif key == "apparmor" and value:
            found = found._replace(apparmor=_apparmor(value))
        elif key == "label" and value:
            _label(value)
        else:
            raise InvalidArgument(f"invalid --security-opt: {option!r}")
    return found


def _apparmor(profile: str) -> str:
    if profile == "unconfined":
        return ""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="utf-8") as file:
            enabled = file.read(1) == "Y"
    except FileNotFoundError:
        enabled = False
    if not enabled:
        raise Unsupported(
            f"apparmor profile {profile}: this machine has no AppArmor; use apparmor=unconfined"
        )
    return profile


def _label(value: str) -> None:
    """SELinux labels: disabled is what there is."""
    key = value.partition(":")[0]
    if value != "disable" and key not in ("user", "role", "type", "level", "filetype", "nested"):
        raise InvalidArgument(f"invalid --security-opt label: {value!r}")
    if value != "disable":
        raise Unsupported(f"label={value}: containers get no SELinux labels; use label=disable")
