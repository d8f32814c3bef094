"""Restart policies, health checks and the unit, as they are typed."""

import json
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.docs import run_page

pytestmark = pytest.mark.root


def test_the_page_on_keeping_containers_running_runs_from_top_to_bottom(
    tiffin: Tiffin, tmp_path: Path
) -> None:
    told = run_page("restart.md", tiffin, tmp_path)
    assert '"RestartCount": 3' in told
    assert told.count("trying") == 4
    for expected in ("(health: starting)", "(healthy)", "health_status: healthy", "ExecStart=", "healthy 0"):
        assert expected in told


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--restart", "always", "--rm"), "conflicting options: cannot specify both --restart and --rm"),
        (("--restart", "never"), "unknown policy 'never'"),
        (("--restart", "on-failure:many"), "maximum retry count must be an integer"),
        (("--no-healthcheck", "--health-retries", "1"), "--no-healthcheck conflicts with --health-* options"),
        (("--health-interval", "-1s"), "--health-interval cannot be negative"),
        (("--health-retries", "-1"), "--health-retries cannot be negative"),
        (("--health-timeout", "1us"), "Timeout in Healthcheck cannot be less than 1ms"),
        (("--health-start-period", "soon"), 'invalid argument "soon" for "--health-start-period" flag'),
    ],
)
def test_what_contradicts_itself_is_refused(shared: Tiffin, words: tuple[str, ...], line: str) -> None:
    assert line in shared.fails("run", *words, "busybox", "true", code=125)
    assert shared.ok("ps", "-aq") == ""


def test_no_and_rm_go_together(shared: Tiffin) -> None:
    assert shared.ok("run", "--rm", "--restart", "no", "--network", "none", "busybox", "echo", "x") == "x"


def test_a_check_s_options_are_kept_as_docker_shows_them(shared: Tiffin) -> None:
    shared.ok(
        "create", "--name", "checked", "--health-cmd", "a b", "--health-interval", "1m30s", "--health-timeout", "2s",
        "--health-start-period", "1s", "--health-start-interval", "500ms", "--health-retries", "4", "busybox", "true",
    )  # fmt: skip
    (document,) = json.loads(shared.ok("inspect", "checked"))
    assert document["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "a b"], "Interval": 90_000_000_000, "Timeout": 2_000_000_000,
        "StartPeriod": 1_000_000_000, "StartInterval": 500_000_000, "Retries": 4,
    }  # fmt: skip
    shared.ok("rm", "checked")


def test_an_image_s_check_is_done_and_can_be_switched_off(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nHEALTHCHECK --interval=100ms --retries=1 CMD test -e /ready\nCMD sleep 1000\n"
    )
    shared.ok("build", "-q", "-t", "checked", tmp_path)
    shared.ok("run", "-d", "--name", "on", "--network", "none", "checked")
    shared.ok("run", "-d", "--name", "off", "--network", "none", "--no-healthcheck", "checked")
    for _ in range(100):
        if "(unhealthy)" in shared.ok("ps", "--filter", "name=on"):
            break
    else:
        raise AssertionError("it was not checked")
    assert "health" not in shared.ok("ps", "--filter", "name=off")
    shared.ok("rm", "-f", "on", "off")


def test_run_of_a_container_that_restarts_ends_with_its_first_run(shared: Tiffin) -> None:
    done = shared(
        "run",
        "--name",
        "again",
        "--restart",
        "always",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo x; exit 7",
    )
    assert (done.returncode, done.stdout) == (7, "x\n")
    shared.ok("rm", "-f", "again")


def test_restart_takes_several_names_and_reports_each(shared: Tiffin) -> None:
    for name in ("one", "two"):
        shared.ok("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
    done = shared("restart", "-t", "0", "one", "absent", "two")
    assert (done.returncode, done.stdout) == (1, "one\ntwo\n")
    assert done.stderr == "tiffin: No such container: absent\n"
    shared.ok("rm", "-f", "one", "two")


@pytest.mark.parametrize("user", [(), ("--user",)])
def test_the_unit_is_written_and_taken_away(shared: Tiffin, tmp_path: Path, user: tuple[str, ...]) -> None:
    where = ("--directory", tmp_path / "units")
    shown = shared.ok("system", "install-units", *user, *where, "--dry-run")
    assert not (tmp_path / "units").exists()
    told = shared.ok("system", "install-units", *user, *where)
    unit = tmp_path / "units" / "tiffin.service"
    assert shown.splitlines()[1:] == unit.read_text().splitlines()
    assert f"wrote {unit}" in told
    assert f"systemctl {'--user ' if user else ''}enable --now tiffin.service" in told
    assert f"--root {shared.root} --run {shared.run_directory} system start-containers" in unit.read_text()
    assert f"removed {unit}" in shared.ok("system", "install-units", *user, *where, "--remove")
    assert "does not exist" in shared.fails("system", "install-units", *user, *where, "--remove")


def test_what_the_unit_calls_works(tiffin: Tiffin) -> None:
    words = ("--network", "none", "busybox", "sleep", "1000")
    tiffin.ok("run", "-d", "--name", "kept", "--restart", "unless-stopped", "--stop-timeout", "0", *words)
    tiffin.ok("run", "-d", "--name", "plain", "--stop-timeout", "0", *words)
    tiffin.ok("system", "stop-containers")
    assert tiffin.ok("ps", "-q") == ""
    assert tiffin.ok("system", "start-containers") == "kept"
    assert tiffin.ok("ps", "--format", "{{.Names}}") == "kept"
