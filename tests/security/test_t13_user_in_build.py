"""T13, in builds: USER and --chown never become uid 0 by overflow or by what /etc/passwd says of a number."""

import pytest

from tests.building import Bench
from tiffin.errors import DockerfileError

pytestmark = pytest.mark.root

HOSTILE = "4294967296:x:0:0::/:/bin/sh\n-1:x:0:0::/:/bin/sh\n77:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n"


@pytest.fixture
def hostile(based: Bench) -> Bench:
    based.write("passwd", HOSTILE)
    based.write("f", "f")
    based.build("FROM base\nCOPY passwd /etc/passwd", tags=("hostile",))
    return based


@pytest.mark.parametrize("user", ["4294967296", "-1", "2147483648", "4294967296:0"])
def test_an_impossible_number_is_refused(hostile: Bench, user: str) -> None:
    with pytest.raises(DockerfileError):
        hostile.build(f"FROM hostile\nUSER {user}\nRUN id -u")
    with pytest.raises(DockerfileError):
        hostile.build(f"FROM hostile\nCOPY --chown={user} f /f")


def test_digits_are_a_number_whatever_the_file_calls_itself(hostile: Bench) -> None:
    hostile.build("FROM hostile\nUSER 77\nRUN id -u\nUSER 0\nCOPY --chown=77 f /f")
    assert hostile.log == "77\n"
    with hostile.tree() as top:
        assert (top / "f").stat().st_uid == 77


@pytest.mark.parametrize("kind", ["fifo", "huge", "link"])
def test_a_passwd_that_is_no_file_neither_hangs_nor_names_anybody(based: Bench, kind: str) -> None:
    make = {
        "fifo": "rm /etc/passwd; mkfifo /etc/passwd",
        "huge": "dd if=/dev/zero of=/etc/passwd bs=1M seek=64 count=0",
        "link": "ln -sf /proc/self/environ /etc/passwd",
    }
    based.build(f"FROM base\nRUN {make[kind]}", tags=("odd",))
    with pytest.raises(DockerfileError):
        based.build("FROM odd\nUSER app\nRUN true")
