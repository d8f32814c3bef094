"""Restart policies as values: what is accepted, in Docker's words, and what they decide."""

import pytest

from tiffin.containers.policy import (
    parse_restart,
    restart_of,
    runs_again,
    starts_at_boot,
    with_restart,
)
from tiffin.containers.record import RestartPolicy
from tiffin.errors import InvalidArgument

ALWAYS, UNLESS = RestartPolicy("always"), RestartPolicy("unless-stopped")


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", RestartPolicy()),
        ("no", RestartPolicy()),
        ("always", ALWAYS),
        ("always:0", ALWAYS),
        ("unless-stopped", UNLESS),
        ("on-failure", RestartPolicy("on-failure")),
        ("on-failure:", RestartPolicy("on-failure")),
        ("on-failure:0", RestartPolicy("on-failure")),
        ("on-failure:+3", RestartPolicy("on-failure", 3)),
    ],
)
def test_what_docker_takes_is_taken(text: str, policy: RestartPolicy) -> None:
    assert parse_restart(text) == policy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (":1", "invalid restart policy format: no policy provided before colon"),
        ("on-failure:x", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:1:2", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:٣", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:-1", "invalid restart policy: maximum retry count cannot be negative"),
        (
            "always:-2",
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
        ),
        (
            "unless-stopped:2",
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            "sometimes",
            "invalid restart policy: unknown policy 'sometimes'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
    ],
)
def test_the_rest_is_refused_in_dockers_words(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_restart(text)
    assert str(refused.value) == words


def test_a_row_s_document_keeps_what_else_is_in_it() -> None:
    text = with_restart('{"other":1,"restart":{"name":"always"}}', RestartPolicy("on-failure", 2))
    assert text == '{"other":1,"restart":{"name":"on-failure","retries":2}}'
    assert restart_of(text) == RestartPolicy("on-failure", 2)
    assert with_restart(text, RestartPolicy()) == '{"other":1}'
    assert restart_of("{}") == RestartPolicy()


def test_who_runs_again_after_its_end() -> None:
    for code, restarts in ((0, 0), (1, 0), (137, 99)):
        assert runs_again(ALWAYS, code, restarts)
        assert runs_again(UNLESS, code, restarts)
        assert not runs_again(RestartPolicy(), code, restarts)
    twice = RestartPolicy("on-failure", 2)
    assert [runs_again(twice, 1, restarts) for restarts in range(4)] == [True, True, False, False]
    assert not runs_again(twice, 0, 0)
    assert runs_again(RestartPolicy("on-failure"), 1, 1000)


def test_who_starts_with_the_machine() -> None:
    assert starts_at_boot(ALWAYS, 0, 0, stopped=True)
    assert starts_at_boot(UNLESS, 0, 0, stopped=False)
    assert not starts_at_boot(UNLESS, 0, 0, stopped=True)
    assert not starts_at_boot(RestartPolicy(), 255, 0, stopped=False)
    assert starts_at_boot(RestartPolicy("on-failure", 3), 255, 2, stopped=False)
    assert not starts_at_boot(RestartPolicy("on-failure", 3), 255, 3, stopped=False)
    assert not starts_at_boot(RestartPolicy("on-failure"), 0, 0, stopped=False)
    assert not starts_at_boot(RestartPolicy("on-failure"), 137, 0, stopped=True)
