"""What `create` makes of restart policies and health checks; and the unit for systemd."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tiffin.containers.record import RestartPolicy
from tiffin.engine import boot
from tiffin.engine.create import _policy, healthcheck
from tiffin.engine.options import CreateOptions
from tiffin.errors import InvalidArgument
from tiffin.state import locate

SECOND = 1_000_000_000
IMAGE = {"Test": ["CMD", "probe"], "Interval": 5 * SECOND, "Retries": 4}


def test_a_check_lacks_nothing_that_the_image_has() -> None:
    assert healthcheck(None, IMAGE) == IMAGE
    assert healthcheck(None, None) is None
    assert healthcheck({"Retries": 1}, IMAGE) == {**IMAGE, "Retries": 1}
    assert healthcheck({"Test": ["CMD-SHELL", "x"]}, IMAGE) == {**IMAGE, "Test": ["CMD-SHELL", "x"]}
    assert healthcheck({"Test": ["NONE"]}, IMAGE) == {**IMAGE, "Test": ["NONE"]}
    assert healthcheck({"Timeout": SECOND}, None) == {"Timeout": SECOND}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Interval": 1000}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": 999_999}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"StartPeriod": -1}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_a_check_that_cannot_be_is_refused_in_dockers_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        healthcheck(given, None)
    assert str(refused.value) == words


def test_a_container_is_not_both_removed_and_restarted() -> None:
    options = CreateOptions("x", auto_remove=True, restart=RestartPolicy("always"))
    with pytest.raises(InvalidArgument, match="cannot specify both --restart and --rm"):
        _policy(options)
    assert _policy(options._replace(restart=RestartPolicy())) == "{}"


@pytest.mark.parametrize("user", [False, True])
def test_the_unit_is_what_systemd_takes(tmp_path: Path, user: bool) -> None:
    layout = locate(str(tmp_path / "a root with 100% $room"), str(tmp_path / "run"))
    Path(layout.root).mkdir()
    unit = boot.unit(layout, ("/bin/echo",), user=user, directory=str(tmp_path / "units"))
    boot.install(unit)
    boot.install(unit)
    assert [entry.name for entry in (tmp_path / "units").iterdir()] == ["tiffin.service"]
    assert Path(unit.path).read_text() == unit.text
    assert 'ExecStart=/bin/echo --root "' in unit.text
    assert "100%% $$room" in unit.text
    assert ("WantedBy=default.target" if user else "WantedBy=multi-user.target") in unit.text
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", unit.path],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "tiffin.service" not in done.stderr, done.stderr
    assert boot.remove(unit)
    assert not boot.remove(unit)


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/usr/bin/tiffin", "/usr/bin/tiffin"),
        ("", '""'),
        ("a b", '"a b"'),
        ("100%", '"100%%"'),
        ("$HOME", '"$$HOME"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a;b", '"a;b"'),
        ("é", '"é"'),
    ],
)
def test_words_reach_systemd_as_they_are(word: str, quoted: str) -> None:
    assert boot.quote(word) == quoted
