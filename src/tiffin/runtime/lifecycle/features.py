"""What this runtime knows and this machine has (features.md), as `tiffin-runtime features` prints it."""

from __future__ import annotations

import os

from tiffin.kernel.process import CAPABILITIES
from tiffin.runtime.extras.hooks import KINDS
from tiffin.runtime.extras.labels import apparmor_enabled, selinux_enabled
from tiffin.runtime.extras.options import known_words
from tiffin.runtime.lifecycle.document import VERSION
from tiffin.runtime.lifecycle.shapes import NAMESPACES, SECCOMP_ACTIONS, SECCOMP_FLAGS, SECCOMP_OPERATORS
from tiffin.typed import Any

_ARCHES = {
    "x86_64": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


def features() -> dict[str, Any]:
    """The document of features.md; validates against its schema."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(KINDS),
        "mountOptions": known_words(),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": os.path.exists("/proc/sys/kernel/seccomp"),
                "actions": sorted(SECCOMP_ACTIONS),
                "operators": sorted(SECCOMP_OPERATORS),
                "archs": _ARCHES.get(os.uname().machine, []),
                "knownFlags": sorted(SECCOMP_FLAGS),
                "supportedFlags": sorted(SECCOMP_FLAGS),
            },
            "apparmor": {"enabled": apparmor_enabled()},
            "selinux": {"enabled": selinux_enabled()},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {},
    }
