"""--change of commit and import."""

import pytest

from tiffin.engine.changes import apply_changes
from tiffin.errors import DockerfileError, InvalidArgument, TiffinError

BASE = {"Env": ["A=1", "PATH=/bin"], "Cmd": ["sh"], "Labels": {"x": "y"}, "WorkingDir": "/home"}


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        (["CMD echo hi"], {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        (['cmd ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
        (['ENTRYPOINT ["x"]'], {"Entrypoint": ["x"], "Cmd": None}),
        (['CMD ["c"]', 'ENTRYPOINT ["x"]'], {"Entrypoint": ["x"], "Cmd": ["c"]}),
        (["ENV B=${A}2 A=3", "ENV C $A"], {"Env": ["A=3", "PATH=/bin", "B=12", "C=3"]}),
        (["LABEL a=b c='d e'"], {"Labels": {"x": "y", "a": "b", "c": "d e"}}),
        (["EXPOSE 80 90/udp"], {"ExposedPorts": {"80/tcp": {}, "90/udp": {}}}),
        (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
        (["USER me:them"], {"User": "me:them"}),
        (["WORKDIR rel", "WORKDIR more"], {"WorkingDir": "/home/rel/more"}),
        (["HEALTHCHECK --retries=2 CMD x"], {"Healthcheck": {"Test": ["CMD-SHELL", "x"], "Retries": 2}}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
        (["STOPSIGNAL INT"], {"StopSignal": "INT"}),
        ([], {}),
    ],
)
def test_settings_change_as_in_a_build(changes: list[str], want: dict[str, object]) -> None:
    before = {key: list(value) if isinstance(value, list) else value for key, value in BASE.items()}
    found = apply_changes(BASE, changes)
    merged = {key: value for key, value in {**BASE, **want}.items() if value is not None}
    assert found == merged
    assert before == BASE


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("FROM x", "from is not a valid change command; those are CMD, ENTRYPOINT"),
        ("RUN true", "run is not a valid change command"),
        ("COPY a b", "copy is not a valid change command"),
        ("ARG x", "arg is not a valid change command"),
        ("BOGUS x", "bogus is not a valid change command"),
        ("", "--change: "),
        ("ENV", "--change: ENV: "),
        ("STOPSIGNAL BOGUS", "--change: STOPSIGNAL: "),
        ("EXPOSE x", "--change: EXPOSE: "),
        ("CMD a\nRUN b", "more than one instruction"),
        ("# comment", "is not a valid change command"),
    ],
)
def test_what_cannot_be_applied_is_said_in_one_line(change: str, text: str) -> None:
    with pytest.raises(TiffinError) as caught:
        apply_changes(BASE, [change])
    assert isinstance(caught.value, (InvalidArgument, DockerfileError))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
