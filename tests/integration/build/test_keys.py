"""What makes a step run again, and what does not: the cases that users of BuildKit know."""

import json
import os
from collections.abc import Callable

import pytest

from tests.building import Bench

pytestmark = pytest.mark.root

FILE = """\
FROM base AS made
RUN mkdir /out; echo made >/out/f; touch -d @1 /out/f /out
CMD ["made"]
FROM base
ARG VERSION=1
ENV MODE=a
COPY src /src
WORKDIR /work
RUN echo shell
USER 0
RUN ["echo", "exec"]
COPY --from=made /out/f /f
COPY --chmod=644 one /one
"""
COPY, WORKDIR, SHELL, EXEC, FROM_STAGE, CHMOD = (
    "COPY src /src",
    "WORKDIR /work",
    "RUN echo shell",
    'RUN ["echo", "exec"]',
    "COPY --from=made /out/f /f",
    "COPY --chmod=644 one /one",
)
FROM_RUN_ON = {SHELL, EXEC, FROM_STAGE, CHMOD}

# What is replaced in the Dockerfile, and what then runs.
CHANGES: list[tuple[str, str, str, set[str]]] = [
    ("a label before all", "ARG VERSION=1\n", "LABEL a=b\nARG VERSION=1\n", set()),
    ("EXPOSE", "WORKDIR", "EXPOSE 80\nWORKDIR", set()),
    ("VOLUME", "WORKDIR", "VOLUME /v\nWORKDIR", set()),
    ("CMD and ENTRYPOINT", "WORKDIR", 'ENTRYPOINT ["x"]\nCMD ["y"]\nWORKDIR', set()),
    ("HEALTHCHECK", "WORKDIR", "HEALTHCHECK CMD true\nWORKDIR", set()),
    ("STOPSIGNAL", "WORKDIR", "STOPSIGNAL 9\nWORKDIR", set()),
    ("MAINTAINER", "WORKDIR", "MAINTAINER me\nWORKDIR", set()),
    ("ONBUILD", "WORKDIR", "ONBUILD RUN x\nWORKDIR", set()),
    ("an ARG without value", "ARG VERSION=1\n", "ARG VERSION=1\nARG OTHER\n", set()),
    ("an ARG with a value is in the environment", "ARG VERSION=1\n", "ARG VERSION=1\nARG O=1\n", FROM_RUN_ON),
    ("an ARG behind the last RUN", "COPY --from", "ARG O=1\nCOPY --from", set()),
    ("an ARG that is given another default", "VERSION=1", "VERSION=2", FROM_RUN_ON),
    ("a variable", "MODE=a", "MODE=b", FROM_RUN_ON),
    ("a variable behind the last RUN", "COPY --from", "ENV O=1\nCOPY --from", set()),
    ("the user of a RUN", "USER 0", "USER 1234", {EXEC, FROM_STAGE, CHMOD}),
    ("a user for no RUN", "COPY --from", "USER 1234\nCOPY --from", set()),
    ("the shell", "RUN echo shell", 'SHELL ["/bin/sh", "-e", "-c"]\nRUN echo shell', FROM_RUN_ON),
    ("the shell of no shell form", "USER 0", 'USER 0\nSHELL ["/bin/false"]', set()),
    (
        "the working directory of a RUN",
        "USER 0",
        "USER 0\nWORKDIR /tmp",
        {"WORKDIR /tmp", EXEC, FROM_STAGE, CHMOD},
    ),
    ("the command of the stage copied from", 'CMD ["made"]', 'CMD ["other"]\nLABEL x=y', set()),
    ("a comment, spaces and lines", "RUN echo shell", "# why\n\nRUN   echo shell", set()),
    ("the destination", "/one", "/two", {"COPY --chmod=644 one /two"}),
    ("the mode that is asked for", "644", "600", {"COPY --chmod=600 one /one"}),
    ("the owner that is asked for", "--chmod=644", "--chown=1", {"COPY --chown=1 one /one"}),
    ("the order of names of one destination", "644 one /one", "644 ./one /one", set()),
]


def shown(bench: Bench) -> set[str]:
    return {name.partition("] ")[2] for name in bench.executed}


@pytest.fixture
def built(based: Bench) -> Bench:
    based.write("src/a", "a")
    based.write("one", "1")
    based.build(FILE)
    return based


def test_a_step_runs_again_for_what_it_reads_and_for_nothing_else(built: Bench) -> None:
    for what, old, new, expected in CHANGES:
        built.build(FILE.replace(old, new))
        assert shown(built) == expected, what
        built.build(FILE)
        assert shown(built) == set(), what


def test_another_name_of_a_stage_changes_nothing(built: Bench) -> None:
    built.build(FILE.replace("AS made", "AS named").replace("from=made", "from=named"))
    assert shown(built) == set()


def test_the_same_files_from_elsewhere_are_the_same(built: Bench) -> None:
    """What is copied counts, not where it lay: of stages as of contexts."""
    built.write("elsewhere/one", "1")
    other = FILE.replace("644 one /one", "644 elsewhere/one /one")
    other = other.replace("RUN mkdir /out; echo made >/out/f", "RUN mkdir /out /else; echo made >/else/f")
    other = other.replace("touch -d @1 /out/f /out", "touch -d @1 /else/f /out").replace(
        "/out/f /f", "/else/f /f"
    )
    built.build(other)
    assert shown(built) == {"RUN mkdir /out /else; echo made >/else/f; touch -d @1 /else/f /out"}


def test_a_path_counts_where_it_is_kept(based: Bench) -> None:
    based.write("a/f", "same")
    based.write("b/f", "same")
    based.build("FROM scratch\nCOPY --parents a/f /d/")
    based.build("FROM scratch\nCOPY --parents b/f /d/")
    assert len(based.executed) == 1
    assert based.layer_names() == ["d", "d/b", "d/b/f"]
    stage = "FROM base AS s\nRUN mkdir /a /b; echo 1 >/a/f; cp -p /a/f /b/f\n"
    based.build(stage + "FROM scratch\nCOPY --from=s --parents /a/f /d/")
    based.build(stage + "FROM scratch\nCOPY --from=s --parents /b/f /d/")
    assert based.layer_names() == ["d", "d/b", "d/b/f"]


def test_a_context_and_a_stage_with_the_same_files_are_different(based: Bench) -> None:
    """Files of a stage keep their owners."""
    based.write("f", "same")
    os.chown(based.context / "f", 1234, 2345)
    based.build("FROM base AS s\nRUN echo -n same >/f; chown 1234:2345 /f\nFROM scratch\nCOPY --from=s /f /f")
    built = based.layer_names()
    based.build("FROM scratch\nCOPY f /f")
    assert len(based.executed) == 1
    assert based.layer_names() == built


def _touch(bench: Bench) -> None:
    for name in ("src/a", "src", "one", "."):
        os.utime(bench.context / name, (1, 1))


UNTOUCHED: list[tuple[str, Callable[[Bench], object], dict[str, object]]] = [
    ("times of files", _touch, {}),
    ("owners of files", lambda bench: os.chown(bench.context / "one", 1000, 1000), {}),
    ("files that nothing copies", lambda bench: bench.write("noise"), {}),
    ("proxies", lambda _: None, {"build_args": {"http_proxy": "http://x.test", "NO_PROXY": "*"}}),
    ("labels", lambda _: None, {"labels": {"a": "b"}}),
    ("names", lambda _: None, {"tags": ("other",)}),
    ("arguments that nothing declares", lambda _: None, {"build_args": {"NOBODY": "1"}}),
    ("an argument that is given its default", lambda _: None, {"build_args": {"VERSION": "1"}}),
]


def test_what_no_step_reads_does_not_matter(built: Bench) -> None:
    for what, change, options in UNTOUCHED:
        change(built)
        built.build(FILE, **options)
        assert shown(built) == set(), what


def test_a_proxy_that_is_declared_counts(based: Bench) -> None:
    text = "FROM base\nARG HTTP_PROXY\nRUN true"
    based.build(text, build_args={"HTTP_PROXY": "http://a.test"})
    based.build(text, build_args={"HTTP_PROXY": "http://b.test"})
    assert len(based.executed) == 1


def test_the_config_is_always_the_dockerfile_s(built: Bench) -> None:
    """Files from the cache, and all else as it is written now."""
    changed = FILE.replace("MODE=a", "MODE=b").replace("ARG VERSION=1", "LABEL k=v\nARG VERSION=1")
    before = built.document()
    built.build(changed + 'CMD ["new"]\n')
    after = built.document()
    assert after["config"]["Labels"] == {"k": "v"}
    assert "MODE=b" in after["config"]["Env"]
    assert after["config"]["Cmd"] == ["new"]
    assert len(after["history"]) == len(before["history"]) + 2
    assert after["created"] == max(entry["created"] for entry in after["history"][1:])
    assert built.build(changed + 'CMD ["new"]\n').image_id == built.images.resolve("built").id
    assert json.dumps(before) != json.dumps(after)
