"""What is shown of a transfer, from several threads and of hostile words."""

import io
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from tiffin.cli.transfer_progress import LiveTransfers, Meter, PlainTransfers, choose
from tiffin.images.transfer import TransferEvent

ID = "a1b2c3d4e5f6"


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def shown(display: LiveTransfers, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=24)
    with console.capture() as capture:
        console.print(display.render())
    return [line.rstrip() for line in capture.get().splitlines()]


def display(height: int = 24) -> LiveTransfers:
    return LiveTransfers(Console(file=io.StringIO(), width=120, height=height))


def test_plain_lines_tell_each_change_once_and_no_bytes() -> None:
    out = io.StringIO()
    with choose(False, out) as report:
        report(TransferEvent("The push refers to repository [x/y]"))
        for event in (
            TransferEvent("Preparing", ID),
            TransferEvent("Preparing", ID),
            TransferEvent("Pushing", ID, 0, 100),
            TransferEvent("Pushing", ID, 50, 100),
            TransferEvent("Pushed", ID),
        ):
            report(event)
    assert out.getvalue() == f"The push refers to repository [x/y]\n{ID}: Preparing\n{ID}: Pushed\n"


def test_quiet_says_nothing() -> None:
    out = Terminal()
    with choose(True, out) as report:
        report(TransferEvent("Pushed", ID))
    assert out.getvalue() == ""


def test_what_a_registry_says_drives_no_terminal() -> None:
    out = io.StringIO()
    PlainTransfers(out)(TransferEvent("Mounted from \x1b]0;x\x07\nPushed", "i\x1b[2J"))
    assert out.getvalue() == "i\\x1b[2J: Mounted from \\x1b]0;x\\x07\\x0aPushed\n"
    live = display()
    live(TransferEvent("[bold]x[/bold] \x1b[2J", ID))
    assert shown(live) == [f"{ID}: [bold]x[/bold] \\x1b[2J"]


def test_a_terminal_shows_bytes_rate_and_time_left_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((10.0, 11.0))
    monkeypatch.setattr("tiffin.cli.transfer_progress.time.monotonic", lambda: next(clock))
    live = display()
    live(TransferEvent("Downloading", ID, 0, 40_000_000))
    live(TransferEvent("Downloading", ID, 10_000_000, 40_000_000))
    (line,) = shown(live)
    assert line.startswith(f"{ID}: Downloading")
    assert line.endswith("[======>                 ]  10MB/40MB  10MB/s  3s")


def test_a_narrow_terminal_cuts_the_bar_and_never_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    last = f"latest: digest: sha256:{'0' * 64} size: 405"
    out = Terminal()
    with choose(False, out) as report:
        report(TransferEvent("Pushing", ID, 150_000_000, 164_000_000))
        report(TransferEvent(last))
    assert "150MB/164MB" in out.getvalue()
    assert f"{last}\n" in out.getvalue()


def test_where_nothing_is_told_nothing_is_drawn() -> None:
    out = Terminal()
    with choose(False, out):
        pass
    assert out.getvalue() == ""


def test_lines_of_the_whole_keep_their_place() -> None:
    live = display()
    live(TransferEvent("1: Pulling from x"))
    live(TransferEvent("Pulling fs layer", ID))
    live(TransferEvent("Digest: sha256:1"))
    live(TransferEvent("Pull complete", ID))
    assert shown(live) == ["1: Pulling from x", f"{ID}: Pull complete", "Digest: sha256:1"]


def test_more_layers_than_lines_leaves_out_what_has_ended() -> None:
    live = display(height=10)
    for number in range(40):
        live(TransferEvent("Pull complete" if number < 35 else "Downloading", f"{number:012}"))
    assert shown(live) == ["35 complete", *(f"{number:012}: Downloading" for number in range(35, 40))]


def test_many_threads_may_report_at_once() -> None:
    out = Terminal()
    with choose(False, out) as report:

        def work(number: int) -> None:
            for done in range(200):
                report(TransferEvent("Downloading", f"{number:012}", done, 200))
            report(TransferEvent("Pull complete", f"{number:012}"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(f"{number:012}: Pull complete" in out.getvalue() for number in range(8))


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    with choose(False, out) as report:
        report(TransferEvent("Pushed", ID))
    assert out.getvalue() == f"{ID}: Pushed\n"


def test_a_transfer_that_begins_again_has_no_negative_rate() -> None:
    meter = Meter()
    for now, count in ((0.0, 0), (1.0, 100), (2.0, 10), (3.0, 30)):
        meter.add(now, count)
    assert meter.rate() == 20.0


def test_plain_lines_load_nothing_for_a_terminal() -> None:
    code = (
        "import sys, io; from tiffin.cli.transfer_progress import choose\n"
        "with choose(False, io.StringIO()) as r: pass\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
