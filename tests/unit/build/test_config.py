from typing import Any

import pytest

from tiffin.build.planning import config
from tiffin.build.planning.config import apply
from tiffin.dockerfile.expand import expand
from tiffin.dockerfile.parser import parse_instruction


def after(text: str, before: dict[str, Any] | None = None, *, own_command: bool = False) -> dict[str, Any]:
    before = before or {}
    instruction = expand(parse_instruction(text, file="Dockerfile"), config.environment(before))
    return apply(before, instruction, own_command=own_command)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV A=1 B=2", {"Env": ["A=1", "B=2"]}),
        ("LABEL a=b", {"Labels": {"a": "b"}}),
        ("EXPOSE 80 53/udp", {"ExposedPorts": {"53/udp": {}, "80/tcp": {}}}),
        ('VOLUME ["/b", "/a"]', {"Volumes": {"/a": {}, "/b": {}}}),
        ("USER app:staff", {"User": "app:staff"}),
        ("WORKDIR /a/../b/", {"WorkingDir": "/b"}),
        ('SHELL ["/bin/ash", "-ec"]', {"Shell": ["/bin/ash", "-ec"]}),
        ('CMD ["a", "b"]', {"Cmd": ["a", "b"]}),
        ("CMD a b", {"Cmd": ["/bin/sh", "-c", "a b"]}),
        ("CMD []", {"Cmd": []}),
        ("STOPSIGNAL SIGUSR1", {"StopSignal": "SIGUSR1"}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "HEALTHCHECK --interval=5s --retries=3 CMD true",
            {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 3}},
        ),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
    ],
)
def test_each_instruction_changes_its_own_member(text: str, expected: dict[str, Any]) -> None:
    assert after(text) == expected


def test_a_name_set_again_keeps_its_place_in_the_environment() -> None:
    assert after("ENV A=3 C=4", {"Env": ["A=1", "B=2"]})["Env"] == ["A=3", "B=2", "C=4"]


def test_the_config_given_is_left_as_it_was() -> None:
    before = {"Env": ["A=1"], "Labels": {"x": "y"}, "OnBuild": ["RUN a"]}
    for text in ("ENV A=2", "LABEL x=z", "ONBUILD RUN b"):
        after(text, before)
    assert before == {"Env": ["A=1"], "Labels": {"x": "y"}, "OnBuild": ["RUN a"]}


def test_a_relative_working_directory_goes_on_from_the_one_before() -> None:
    assert after("WORKDIR b", {"WorkingDir": "/a"})["WorkingDir"] == "/a/b"
    assert after("WORKDIR ../..", {"WorkingDir": "/a"})["WorkingDir"] == "/"
    assert after("WORKDIR //x")["WorkingDir"] == "/x"


def test_entrypoint_drops_the_command_of_the_base_but_not_the_stages_own() -> None:
    assert "Cmd" not in after('ENTRYPOINT ["e"]', {"Cmd": ["base"]})
    assert after('ENTRYPOINT ["e"]', {"Cmd": ["mine"]}, own_command=True)["Cmd"] == ["mine"]


def test_shell_form_uses_the_shell_that_was_chosen() -> None:
    assert after("ENTRYPOINT run it", {"Shell": ["/bin/bash", "-c"]})["Entrypoint"] == [
        "/bin/bash",
        "-c",
        "run it",
    ]
