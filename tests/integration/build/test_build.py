"""Stages, cache, configs and errors of whole builds."""

import os

import pytest

from tests.building import Bench
from tiffin.build import StepError
from tiffin.build.progress import StepDone, StepFailed, StepStarted
from tiffin.errors import DockerfileError, InvalidArgument, NotFound
from tiffin.kernel.paths import AT_FDCWD, remove_tree

pytestmark = pytest.mark.root

TWO_STAGES = """\
FROM base AS build
RUN echo built >/out && echo $RANDOM >/noise
FROM base AS unrelated
RUN exit 3
FROM base
COPY --from=build /out /out
CMD ["cat", "/out"]
"""


def test_stages_that_the_target_does_not_need_are_not_built(based: Bench) -> None:
    result = based.build(TWO_STAGES)
    assert based.executed == [
        "[build 2/2] RUN echo built >/out && echo $RANDOM >/noise",
        "[stage-2 2/2] COPY --from=build /out /out",
    ]
    assert result.names == ("docker.io/library/built:latest",)
    assert based.settings()["Cmd"] == ["cat", "/out"]
    with based.tree() as top:
        assert (top / "out").read_text() == "built\n"
        assert not (top / "noise").exists()


def test_a_second_build_executes_nothing_and_gives_the_same_image(based: Bench) -> None:
    based.write("f", "f")
    text = "FROM base\nLABEL a=b\nWORKDIR /w\nCOPY f .\nRUN echo x >y\nENV A=1\nCMD x"
    first = based.build(text)
    assert len(based.executed) == 3
    second = based.build(text)
    assert based.executed == []
    assert len(based.cached) == 3
    assert second.image_id == first.image_id


def test_an_image_of_settings_alone_is_the_same_when_built_again(based: Bench) -> None:
    assert based.build("FROM base\nENV A=1").image_id == based.build("FROM base\nENV A=1").image_id
    assert based.document()["history"][-1]["empty_layer"] is True


def test_no_cache_executes_all_and_its_results_serve_later_builds(based: Bench) -> None:
    text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid >/id\nRUN true"
    first = based.build(text)
    fresh = based.build(text, no_cache=True)
    assert len(based.executed) == 2
    assert fresh.image_id != first.image_id
    assert based.build(text).image_id == fresh.image_id
    assert based.executed == []


# The first RUN, the COPY, and the two RUNs after it: how many of them are executed again.
CHANGES = [
    ("content", lambda bench: bench.write("f", "other"), {}),
    ("mode", lambda bench: (bench.context / "f").chmod(0o600), {}),
    ("name", lambda bench: bench.write("g"), {}),
    ("argument", lambda _: None, {"build_args": {"V": "2"}}),
    ("network", lambda _: None, {"network": "host"}),
]


@pytest.mark.parametrize(("what", "change", "options"), CHANGES, ids=[case[0] for case in CHANGES])
def test_a_change_rebuilds_from_there_on(based: Bench, what: str, change, options) -> None:
    text = "FROM base\nRUN echo before >/b\nARG V=1\nCOPY . /c\nRUN echo $V >/v\nRUN echo after >/a"
    based.write("f", "f")
    based.build(text)
    change(based)
    based.build(text, **options)
    assert len(based.executed) == {"argument": 2, "network": 4}.get(what, 3)


@pytest.mark.parametrize("what", ["touch", "ignored", "unused", "owner"])
def test_what_a_step_does_not_read_does_not_matter(based: Bench, what: str) -> None:
    text = "FROM base\nCOPY . /c\nRUN true"
    based.write("f", "f")
    based.write(".dockerignore", "*.log\n")
    based.build(text)
    first = based.images.resolve("built").id
    if what == "touch":
        os.utime(based.context / "f", (1, 1))
    elif what == "ignored":
        based.write("x.log", "noise")
    elif what == "unused":
        based.build(text, build_args={"HTTP_PROXY": "http://x.test"})
    else:
        os.chown(based.context / "f", 1000, 1000)
    based.build(text)
    assert based.executed == []
    assert based.images.resolve("built").id == first


def test_another_base_of_the_same_files_but_other_config_shares_no_step(based: Bench) -> None:
    based.build("FROM base\nENV X=1", tags=("other",))
    based.build("FROM base\nRUN true")
    based.build("FROM other\nRUN true")
    assert based.executed == ["[2/2] RUN true"]


def test_files_copied_from_a_rebuilt_stage_are_recognised_by_what_they_are(based: Bench) -> None:
    text = (
        "FROM base AS one\nARG V\nRUN echo $V >/noise; echo same >/out; touch -d @1 /out\n"
        "FROM base\nCOPY --from=one /out /\nRUN true"
    )
    based.build(text, build_args={"V": "1"})
    based.build(text, build_args={"V": "2"})
    assert len(based.executed) == 1
    assert len(based.cached) == 2


def test_two_stages_run_at_the_same_time(based: Bench) -> None:
    based.build(
        "FROM base AS a\nRUN sleep 0.6; echo a >/a\nFROM base AS b\nRUN sleep 0.6; echo b >/b\n"
        "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /"
    )
    events = list(enumerate(based.events))
    begun = [at for at, event in events if isinstance(event, StepStarted) and "sleep" in event.name]
    ended = [at for at, event in events if isinstance(event, StepDone) and event.seconds >= 0.6]
    assert len(begun) == len(ended) == 2
    assert max(begun) < min(ended)


def test_the_same_step_in_two_stages_is_executed_once(based: Bench) -> None:
    based.build(
        "FROM base AS a\nRUN echo x >/x\nFROM base AS b\nRUN echo x >/x\n"
        "FROM scratch\nCOPY --from=a /x /a\nCOPY --from=b /x /b",
        no_cache=True,
    )
    assert len([name for name in based.executed if "RUN" in name]) == 1


def test_target_stops_at_a_stage(based: Bench) -> None:
    based.build(TWO_STAGES, target="build")
    with based.tree() as top:
        assert (top / "noise").exists()
    with pytest.raises(StepError):
        based.build(TWO_STAGES, target="1")
    with pytest.raises(DockerfileError, match="did you mean build"):
        based.build(TWO_STAGES, target="biuld")


def test_a_stage_goes_on_from_another(based: Bench) -> None:
    based.build("FROM base AS a\nARG X=1\nENV A=a\nRUN echo 1 >/1\nFROM a\nRUN echo $A$X >/2\nENV B=b")
    assert based.settings()["Env"][1:] == ["A=a", "B=b"]
    with based.tree() as top:
        assert (top / "2").read_text() == "a1\n"


def test_arguments_have_dockers_scopes(based: Bench) -> None:
    based.build(
        "ARG TAG=latest\nARG G=global\nFROM base:$TAG\nLABEL before=$G\nARG G\nLABEL after=$G\nARG L=local\n"
        "ARG UNSET\nENV L=env\nRUN echo $G-$L-${UNSET-unset} >/x\nARG TARGETARCH\nLABEL arch=$TARGETARCH",
        build_args={"L": "given"},
    )
    assert based.settings()["Labels"]["before"] == ""
    assert based.settings()["Labels"]["after"] == "global"
    assert based.settings()["Labels"]["arch"] in ("amd64", "arm64")
    with based.tree() as top:
        assert (top / "x").read_text() == "global-env-unset\n"
    assert not any("given" in pair for pair in based.settings()["Env"])


def test_an_argument_that_nothing_takes_is_a_warning(based: Bench) -> None:
    result = based.build("FROM base\nARG A", build_args={"A": "1", "B": "2", "HTTP_PROXY": "x"})
    assert result.warnings == ("One or more build-args [B] were not consumed",)


def test_proxies_reach_a_run_and_leave_no_trace(based: Bench) -> None:
    based.build("FROM base\nRUN echo $http_proxy >/p", build_args={"http_proxy": "http://p.test"})
    with based.tree() as top:
        assert (top / "p").read_text() == "http://p.test\n"
    assert "p.test" not in str(based.document())


def test_labels_given_with_the_build_come_last(based: Bench) -> None:
    based.build("FROM base\nLABEL a=1 b=2", labels={"b": "3", "c": "4"})
    assert based.settings()["Labels"] == {"a": "1", "b": "3", "c": "4"}


def test_a_scratch_image_has_dockers_path_and_only_what_was_copied(bench: Bench) -> None:
    bench.write("f", "f")
    bench.build("FROM scratch\nCOPY f /")
    assert bench.settings()["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    assert bench.layer_names() == ["f"]
    assert [entry["created_by"] for entry in bench.document()["history"]] == ["COPY f /"]


def test_history_has_one_entry_an_instruction_and_layers_where_files_changed(based: Bench) -> None:
    based.build(
        "FROM base\nMAINTAINER me\nENV A=1\nWORKDIR /new\nWORKDIR /new\nRUN true\nARG B=2\nRUN touch x\n"
        'EXPOSE 80\nENTRYPOINT ["e"]\nCMD c'
    )
    history = based.document()["history"][1:]
    assert [(entry["created_by"], entry.get("empty_layer", False)) for entry in history] == [
        ("MAINTAINER me", True),
        ("ENV A=1", True),
        ("WORKDIR /new", False),
        ("WORKDIR /new", True),
        ("RUN /bin/sh -c true", True),
        ("ARG B=2", True),
        ("RUN |1 B=2 /bin/sh -c touch x", False),
        ("EXPOSE [80/tcp]", True),
        ('ENTRYPOINT ["e"]', True),
        ('CMD ["/bin/sh" "-c" "c"]', True),
    ]
    assert based.document()["author"] == "me"
    created = [entry["created"] for entry in history]
    assert created == sorted(created)
    assert based.document()["created"] == created[-1]
    assert len(based.document()["rootfs"]["diff_ids"]) == 3


def test_onbuild_triggers_run_in_the_next_build_and_only_there(based: Bench) -> None:
    based.build("FROM base\nONBUILD COPY f /f\nONBUILD RUN cat /f >/g\nONBUILD ENV T=1", tags=("parent",))
    assert based.settings("parent")["OnBuild"] == ["COPY f /f", "RUN cat /f >/g", "ENV T=1"]
    based.write("f", "text")
    based.build("FROM parent\nRUN test $T = 1 && cp /g /h", tags=("child",))
    assert "OnBuild" not in based.settings("child")
    with based.tree("child") as top:
        assert (top / "h").read_text() == "text"
    based.build("FROM child\nRUN true")
    assert based.executed == ["[2/2] RUN true"]


def test_the_dockerfile_in_the_context_is_the_default(based: Bench) -> None:
    based.write("Dockerfile", "FROM base\nLABEL from=default")
    based.write("other/My.Dockerfile", "FROM base\nLABEL from=other")
    based.build()
    assert based.settings()["Labels"]["from"] == "default"
    based.build(dockerfile=str(based.context / "other" / "My.Dockerfile"))
    assert based.settings()["Labels"]["from"] == "other"


def test_an_image_gets_every_tag_or_none(based: Bench) -> None:
    result = based.build("FROM base\nENV A=1", tags=("one", "two:2", "example.test/x/three"))
    assert result.names == (
        "docker.io/library/one:latest",
        "docker.io/library/two:2",
        "example.test/x/three:latest",
    )
    found = {based.images.resolve(tag).id for tag in ("one", "two:2", "example.test/x/three")}
    assert found == {result.image_id}
    with pytest.raises(InvalidArgument):
        based.build("FROM base", tags=("fine", "Not Fine"))
    with pytest.raises(NotFound):
        based.images.resolve("fine")


def test_without_a_tag_the_image_is_known_by_its_id(based: Bench) -> None:
    result = based.build("FROM base\nENV A=1", tags=())
    assert based.images.resolve(result.image_id).names == ()


ERRORS = [
    ("FROM base\nRUM x", r"Dockerfile:2: unknown instruction: RUM \(did you mean RUN\?\)"),
    ("FROM base\n\nCOPY nothing /x", "Dockerfile:3: COPY: 'nothing' does not exist in the build context"),
    ("FROM base\nCOPY ../x /x", "Dockerfile:2: COPY: forbidden path outside the build context"),
    ("FROM nowhere", "Dockerfile:1: FROM: No such image: nowhere"),
    ("FROM base\nCOPY --from=nowhere /a /b", "Dockerfile:2: COPY: No such image: nowhere"),
    ("FROM base AS a\nFROM base\nCOPY --from=a /nope /", "Dockerfile:3: COPY: '/nope' does not exist in the"),
    ("FROM base\nEXPOSE x", "Dockerfile:2: EXPOSE"),
    ("FROM base\nUSER nobody-here\nRUN true", "Dockerfile:3: RUN: unable to find user nobody-here"),
    ('FROM base\nRUN ["/nope"]', 'Dockerfile:2: RUN: exec: "/nope"'),
    ("FROM base\nRUN true\nRUN echo one; \\\n  exit 7", "Dockerfile:3: RUN: .* non-zero code: 7"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_an_error_names_file_line_and_instruction(based: Bench, text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as caught:
        based.build(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    with pytest.raises(NotFound):
        based.images.resolve("built")


def test_the_error_of_a_failed_step_brings_the_end_of_its_log(based: Bench) -> None:
    with pytest.raises(StepError) as caught:
        based.build("FROM base\nRUN echo out; echo err >&2; exit 42")
    assert caught.value.status == 42
    assert sorted(caught.value.log.split()) == ["err", "out"]
    assert isinstance(based.events[-1], StepFailed)


def test_the_whole_log_reaches_whoever_watches(based: Bench) -> None:
    based.build("FROM base\nRUN i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    assert based.log.splitlines() == [f"line {number}" for number in range(20000)]


def test_steps_before_a_failure_are_kept_and_not_repeated(based: Bench) -> None:
    for status in (1, 0):
        text = f"FROM base\nRUN cat /proc/sys/kernel/random/uuid >/id\nRUN exit {status}"
        if status:
            with pytest.raises(StepError):
                based.build(text)
        else:
            based.build(text)
            assert based.cached == ["[2/3] RUN cat /proc/sys/kernel/random/uuid >/id"]


def test_a_failure_stops_the_steps_beside_it(based: Bench) -> None:
    with pytest.raises(StepError, match="non-zero code: 5"):
        based.build(
            "FROM base AS slow\nRUN sleep 600\nFROM base AS bad\nRUN sleep 0.2; exit 5\n"
            "FROM base\nCOPY --from=slow / /\nCOPY --from=bad / /"
        )


def test_a_layer_lost_from_the_store_is_made_again(based: Bench) -> None:
    text = "FROM base\nRUN echo x >/x"
    based.build(text)
    layer = based.layout.layer(based.images.resolve("built").diff_ids[-1])
    remove_tree(AT_FDCWD, layer)
    based.build(text)
    assert len(based.executed) == 1


def test_a_build_leaves_what_it_made_usable_after_collection(based: Bench) -> None:
    text = "FROM base\nRUN echo x >/x\nRUN echo y >/y"
    based.build(text)
    based.images.remove("built")
    based.images.collect()
    based.build(text)
    assert based.executed == []
