"""Real software on a real distribution: a Debian image, a C program built in one stage and served in another,
packages installed inside RUN."""

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.images import debian_tar

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.registry, pytest.mark.timeout(600)]

DOCKERFILE = """\
FROM debian-test AS compiler
WORKDIR /src
COPY answer.c .
RUN gcc -O2 -static -o answer answer.c && ./answer > answer.txt

FROM debian-test
COPY --from=compiler --chown=www-data:www-data --chmod=755 /src/answer /usr/local/bin/answer
COPY --from=compiler /src/answer.txt /var/www/html/index.html
RUN answer | grep -q forty-two && stat -c %U /usr/local/bin/answer | grep -qx www-data
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]
"""
PROGRAM = """\
#include <stdio.h>
int main(void) { puts("forty-two"); return 0; }
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("debian"), busybox=False) as tiffin:
        tiffin.ok("import", debian_tar(), "debian-test", timeout=300)
        yield tiffin


def fetch(port: int) -> bytes:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_c_program_is_compiled_in_one_stage_and_served_from_another(debian: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "answer.c").write_text(PROGRAM)
    debian.ok("build", "-q", "-t", "served", tmp_path, timeout=300)
    name = debian.ok("run", "-d", "-p", "127.0.0.1::80", "served")
    port = int(debian.ok("port", name, "80").rpartition(":")[2])
    assert fetch(port) == b"forty-two\n"
    assert debian.ok("exec", name, "python3", "-c", "print(6 * 7)") == "42"
    debian.ok("rm", "-f", name)
    again = debian("build", "--progress", "plain", "-t", "served", tmp_path)
    assert again.returncode == 0
    assert "CACHED" in again.stderr
    assert " RUN gcc" not in "".join(line for line in again.stderr.splitlines() if "CACHED" not in line)


def test_apt_get_works_inside_run(debian: Tiffin, tmp_path: Path) -> None:
    settings = subprocess.run(
        ["sh", "-c", "cat /etc/apt/apt.conf.d/*proxy* 2>/dev/null || true"], capture_output=True
    )
    (tmp_path / "apt.conf").write_bytes(settings.stdout)
    (tmp_path / "Dockerfile").write_text(
        "FROM debian-test\n"
        "COPY apt.conf /etc/apt/apt.conf.d/99test\n"
        "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends hello && hello\n"
    )
    done = debian("build", "--progress", "plain", "-t", "apt", tmp_path, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Hello, world!" in done.stderr
    assert debian.ok("run", "--rm", "--network", "none", "apt", "hello") == "Hello, world!"
    left = debian.ok("run", "--rm", "--network", "none", "apt", "ls", "/dev", "/proc").split()
    assert "null" in left
