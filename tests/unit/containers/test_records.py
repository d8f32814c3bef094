"""Records, names, states, ports and security options as values."""

import pytest

from tiffin.containers import ContainerRecord, LogConfig, PortSpec, Resources, State, new_id, parse_expose
from tiffin.containers.names import check_name, random_name
from tiffin.containers.security import Security, parse_security_options
from tiffin.containers.states import can_kill, can_remove, can_start, shown
from tiffin.errors import InvalidArgument, Unsupported

RECORD = ContainerRecord(
    id=new_id(),
    name="lunch",
    image="sha256:" + "a" * 64,
    image_name="busybox",
    created=1,
    argv=("sh", "-c", "true"),
    layers=("sha256:" + "b" * 64,),
    entrypoint=None,
    cmd=("sh", "-c", "true"),
    env=("A=ä", "B=\udc80"),
    mounts=({"type": "bind", "source": "/a", "destination": "/b", "options": ["rbind", "ro"]},),
    ports=(PortSpec("0.0.0.0", 8080, 80),),
    resources=Resources(memory=1 << 30),
    ulimits=(("nofile", 1, 2),),
    labels={"k": "v"},
    log=LogConfig("none"),
)


def test_a_record_comes_back_from_json_as_it_was() -> None:
    assert ContainerRecord.from_json(RECORD.to_json()) == RECORD


def test_a_record_of_another_version_is_read_with_defaults() -> None:
    import json

    document = json.loads(RECORD.to_json())
    document["of_the_future"] = 1
    document["resources"]["of_the_future"] = 1
    del document["stop_timeout"]
    assert ContainerRecord.from_json(json.dumps(document)) == RECORD


@pytest.mark.parametrize("name", ["a1", "A.b-c_d", "0" * 255, "/slash"])
def test_names_that_docker_takes(name: str) -> None:
    assert check_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "-ab", ".ab", "a b", "a/b", "ab\n", "ä1", "..", "a" * 256])
def test_names_that_docker_refuses(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"only \[a-zA-Z0-9\]\[a-zA-Z0-9_.-\] are allowed"):
        check_name(name)


def test_made_up_names_are_names_and_many() -> None:
    names = {random_name() for _ in range(400)}
    assert len(names) > 380
    assert all(check_name(name) == name for name in names)


def test_what_each_state_allows() -> None:
    states = [State.CREATED, State.STARTING, State.RUNNING, State.EXITED, State.REMOVING, State.DEAD]
    assert [state for state in states if can_start(state)] == [State.CREATED, State.EXITED]
    assert [state for state in states if can_kill(state)] == [State.RUNNING]
    assert [state for state in states if not can_remove(state)] == [State.STARTING, State.RUNNING]
    assert shown(State.STARTING) == "created"


def test_exposed_ports() -> None:
    assert parse_expose("80") == ("80/tcp",)
    assert parse_expose("53/UDP") == ("53/udp",)
    assert parse_expose("8000-8002") == ("8000/tcp", "8001/tcp", "8002/tcp")
    for bad in ("", "0", "65536", "8-7", "80/icmp", "a", "80-", "-1"):
        with pytest.raises(InvalidArgument):
            parse_expose(bad)


def test_security_options_are_a_closed_list() -> None:
    assert parse_security_options(["no-new-privileges", "seccomp=unconfined"]) == Security(True, "unconfined")
    assert parse_security_options(["no-new-privileges:false"]) == Security()
    assert parse_security_options(["seccomp=/p.json", "apparmor=unconfined"]) == Security(False, "/p.json")
    for bad in ("seccomp=p.json", "no-new-privileges=maybe", "nothing", "seccomp="):
        with pytest.raises(InvalidArgument):
            parse_security_options([bad])
    with pytest.raises(Unsupported):
        parse_security_options(["apparmor=mine"])
