"""--log-driver and --log-opt: what is accepted, what is made of it, and what is said of the rest."""

import pytest

from tiffin.containers.record import LogConfig
from tiffin.engine.log_options import Subject, settle
from tiffin.errors import InvalidArgument

SUBJECT = Subject(
    "f" * 64,
    "web",
    "sha256:" + "a" * 64,
    "shop/web:1",
    ("A=1", "B=x=y", "SECRET=s"),
    {"team": "blue", "tier": "9"},
)


def settled(driver: str = "json-file", **options: str) -> LogConfig:
    return settle(
        LogConfig(driver, options={name.replace("_", "-"): value for name, value in options.items()}), SUBJECT
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10m", 10 << 20),
        ("1k", 1024),
        ("2g", 2 << 30),
        ("1.5m", 3 << 19),
        ("77", 77),
        ("-1", 0),
        ("5MB", 5 << 20),
    ],
)
def test_sizes_are_dockers(text: str, size: int) -> None:
    assert settled(max_size=text).max_size == size
    assert settled("local", max_size=text, max_file="7").max_file == 7


def test_rotation_is_on_by_default() -> None:
    assert settled(labels="team")[1:3] == (50 << 20, 3)
    assert settled("syslog", tag="x")[1:3] == (50 << 20, 3)


def test_attributes_are_the_chosen_labels_and_variables() -> None:
    log = settled(labels="team,absent", env="B", env_regex="^A$", tag="{{.Name}}/{{ .ID }}")
    assert log.attributes == {"team": "blue", "B": "x=y", "A": "1", "tag": "web/ffffffffffff"}
    assert settled(labels_regex="^t").attributes == {"team": "blue", "tier": "9"}


def test_a_tag_is_made_of_dockers_fields() -> None:
    assert settled("syslog", tag="{{.ImageName}}-{{.FullID}}").tag == "shop/web:1-" + "f" * 64
    for wrong in ("{{.Nothing}}", "{{range .}}"):
        with pytest.raises(InvalidArgument, match="log opt tag"):
            settled("syslog", tag=wrong)


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("fluentd", {}, "no log driver named 'fluentd' is registered"),
        ("json-file", {"max_siz": "1"}, "unknown log opt 'max-siz' for json-file log driver"),
        ("json-file", {"compress": "true"}, "unknown log opt 'compress'"),
        ("none", {"tag": "x"}, "unknown log opt 'tag' for none"),
        ("json-file", {"max_size": "big"}, "invalid value for max-size"),
        ("json-file", {"max_file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max_file": "x"}, "invalid value for max-file"),
        ("json-file", {"mode": "fast"}, "logging mode not supported: fast"),
        ("json-file", {"max_buffer_size": "1m"}, "only supported with 'mode=non-blocking'"),
        ("json-file", {"labels_regex": "("}, "invalid regular expression"),
        ("syslog", {"syslog_address": "http://x"}, "invalid syslog-address"),
        ("syslog", {"syslog_address": "tcp://x:99999"}, "invalid syslog-address"),
        ("syslog", {"syslog_facility": "loud"}, "invalid syslog facility"),
        ("syslog", {"syslog_format": "json"}, "invalid syslog format"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words.replace("(", r"\(")):
        settled(driver, **options)
