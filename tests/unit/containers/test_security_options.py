"""`--security-opt`: a closed list."""

import pytest

from tiffin.containers.security import Security, parse_security_options
from tiffin.errors import InvalidArgument, TiffinError, Unsupported


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("no-new-privileges", Security(no_new_privileges=True)),
        ("no-new-privileges=false", Security()),
        ("no-new-privileges:true", Security(no_new_privileges=True)),
        ("seccomp=unconfined", Security(seccomp="unconfined")),
        ("seccomp=builtin", Security()),
        ("seccomp:/p.json", Security(seccomp="/p.json")),
        ("systempaths=unconfined", Security(open_paths=True)),
        ("writable-cgroups=true", Security(writable_cgroups=True)),
        ("writable-cgroups", Security(writable_cgroups=True)),
        ("apparmor=unconfined", Security()),
        ("label=disable", Security()),
        ("label:disable", Security()),
    ],
)
def test_what_is_known(option: str, found: Security) -> None:
    assert parse_security_options([option]) == found


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("label=type:svirt_t", Unsupported),
        ("label=nonsense", InvalidArgument),
        ("seccomp=relative.json", InvalidArgument),
        ("systempaths=confined", InvalidArgument),
        ("no-new-privileges=maybe", InvalidArgument),
        ("credentialspec=file://x", InvalidArgument),
        ("unknown", InvalidArgument),
        ("", InvalidArgument),
    ],
)
def test_what_is_not_is_refused(option: str, kind: type[TiffinError]) -> None:
    with pytest.raises(kind):
        parse_security_options([option])
