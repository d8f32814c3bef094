"""T38: sysctls and annotations smuggle nothing."""

import pytest

from tiffin.errors import InvalidArgument
from tiffin.oci.mount import Mount
from tiffin.runtime.create import CreateRequest, create
from tiffin.runtime.spec import ContainerOptions, default_spec
from tiffin.runtime.sysctls import sysctl_path

ALL = frozenset({"ipc", "network", "uts"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel.core_pattern", "|/evil"),
        ("kernel.shm_rmid_forced+kernel.core_pattern", "1+|/evil"),
        ("kernel.shm_rmid_forced\n", "1"),
        ("kernel.shm_rmid_forced", "1\n2"),
        ("net.ipv4.ip_forward", "1\0"),
        ("net/../kernel/core_pattern", "x"),
        ("net...kernel.core_pattern", "x"),
        ("net..ipv4", "x"),
        ("net.ipv4./.forward", "x"),
        ("../net.ipv4", "x"),
        ("vm.overcommit_memory", "1"),
        ("fs.file-max", "1"),
        ("kernel/core_pattern", "x"),
        ("net", "1"),
        ("", "1"),
        ("net.ipv4.ip forward", "1"),
    ],
)
def test_t38_a_bad_sysctl_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidArgument):
        sysctl_path(name, value, ALL)


def test_t38_good_ones_go_where_they_say_and_only_into_own_namespaces() -> None:
    assert sysctl_path("net.ipv4.conf.eth0/1.forwarding", "1", ALL) == "net/ipv4/conf/eth0.1/forwarding"
    assert sysctl_path("kernel.shmmax", "1", ALL) == "kernel/shmmax"
    assert sysctl_path("fs.mqueue.msg_max", "1", ALL) == "fs/mqueue/msg_max"
    with pytest.raises(InvalidArgument, match="shares the host's network namespace"):
        sysctl_path("net.ipv4.ip_forward", "1", frozenset({"ipc"}))


def test_t38_an_annotation_of_systemd_properties_is_refused(tmp_path) -> None:
    spec = default_spec(ContainerOptions(argv=["true"]))
    spec["annotations"] = {"org.systemd.property.ExecStopPost": "['/evil']"}
    with pytest.raises(InvalidArgument, match=r"org\.systemd\.property"):
        create(CreateRequest("x", spec, Mount("/", "bind", str(tmp_path)), str(tmp_path)))
