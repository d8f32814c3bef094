"""T26: nothing that the image brings runs as the engine, and nothing of the engine's shows in the
container."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


MARKER = "#!/bin/sh\necho ran as $(id -u) > /marker\nexec /bin/true\n"


def test_t26_tools_and_libraries_of_the_image_are_not_used(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIFFIN_TOKEN", "token-of-the-engine")
    for path in ("bin/nsenter", "bin/xz", "bin/ip", "bin/mount", "usr/bin/python3", "sbin/init"):
        target = box.layer / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(MARKER)
        target.chmod(0o755)
    for path in (
        "lib/x86_64-linux-gnu/libnss_files.so.2",
        "lib/libc.so.6",
        "usr/lib/python3.11/encodings/idna.py",
    ):
        target = box.layer / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("not a library, and not python")
    (box.layer / "etc/nsswitch.conf").write_text("passwd: evil files\n")
    (box.layer / "etc/passwd").write_text("app:x:1000:1000::/:/bin/sh\n")
    init = box.start("sleep 100", user="app")
    look = "cat /proc/*/environ | tr '\\0' '\\n'; env; ls /marker"
    done = box.exec(init, look)
    assert "token-of-the-engine" not in done.out
    assert "ls: /marker: No such file or directory" in done.out
    assert "token-of-the-engine" not in box.run(look).out
