"""A database on a named volume: what it said is committed is there after every end that a container can have."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.images import postgresql_tar

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]

DOCKERFILE = """\
FROM postgresql-test
RUN install -d -o postgres -g postgres -m 0700 /data
COPY --chmod=755 serve /usr/local/bin/
USER postgres
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin PGDATA=/data PGHOST=/tmp PGDATABASE=postgres
STOPSIGNAL SIGINT
CMD ["/usr/local/bin/serve"]
"""
SERVE = """\
#!/bin/sh
set -e
[ -s "$PGDATA/PG_VERSION" ] || initdb --data-checksums --locale=C --encoding=UTF8 --auth=trust >/dev/null
exec postgres -c listen_addresses= -c unix_socket_directories=/tmp
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """An engine with the image `db`."""
    with fresh_engine(tmp_path_factory.mktemp("postgresql"), busybox=False) as tiffin:
        tiffin.ok("import", postgresql_tar(), "postgresql-test", timeout=300)
        context = tmp_path_factory.mktemp("context")
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "serve").write_text(SERVE)
        tiffin.ok("build", "-q", "-t", "db", "--network", "none", context, timeout=300)
        yield tiffin


def start(tiffin: Tiffin, *words: str) -> None:
    """Run it as the container `db`."""
    tiffin.ok("run", "-d", "--name", "db", "--network", "none", *words, "db")
    await_ready(tiffin)


def await_ready(tiffin: Tiffin) -> None:
    deadline = time.monotonic() + 60
    while tiffin("exec", "db", "psql", "-c", "SELECT 1").returncode:
        assert time.monotonic() < deadline, tiffin.ok("logs", "db", stderr=subprocess.STDOUT)
        time.sleep(0.1)


def sql(tiffin: Tiffin, statement: str) -> str:
    return tiffin.ok("exec", "db", "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement)


def write(tiffin: Tiffin, first: int, count: int) -> "subprocess.Popen[str]":
    """A session that has had so many rows committed, one by one, and is in a transaction that will not be."""
    session = tiffin.start("exec", "-i", "db", "psql", "-qAt", bufsize=1)
    assert session.stdin is not None and session.stdout is not None
    for number in range(first, first + count):
        session.stdin.write(f"INSERT INTO kept VALUES ({number}) RETURNING number;\n")
        assert session.stdout.readline() == f"{number}\n"
    end = first + count
    session.stdin.write(f"BEGIN; INSERT INTO kept SELECT generate_series({end}, {end + 300000});\n")
    return session


def check_whole(tiffin: Tiffin, rows: int) -> None:
    """Every row that was committed is there, nothing of what was not, and every page and index is what it should be."""
    assert sql(tiffin, "SELECT count(*), min(number), max(number) FROM kept") == f"{rows}|1|{rows}"
    tiffin.ok("exec", "db", "pg_amcheck", "--all", "--install-missing", "--heapallindexed")
    tiffin.ok("stop", "-t", "60", "db")
    said = tiffin.ok(
        "run", "--rm", "--network", "none", "--volumes-from", "db", "db", "pg_checksums", "--check"
    )
    assert "Bad checksums:  0" in said
    tiffin.ok("start", "db")
    await_ready(tiffin)


def test_what_is_committed_survives_every_end_of_its_container(engine: Tiffin) -> None:
    start(engine, "-v", "rows:/data")
    place = Path(engine.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "rows"))
    there = place.stat()
    assert there.st_mode & 0o777 == 0o700 and there.st_uid != 0, "as the image has it"
    sql(engine, "CREATE TABLE kept (number int PRIMARY KEY)")
    engine.ok("exec", "db", "pgbench", "-i", "-q", "-s", "1")

    # rm -f, and another container with the same volume
    session = write(engine, 1, 100)
    engine.ok("rm", "-f", "db")
    session.communicate(timeout=60)
    start(engine, "-v", "rows:/data")
    check_whole(engine, 100)

    # kill -9 amid writes of several clients
    engine.ok("exec", "-d", "db", "pgbench", "-c", "2", "-T", "600")
    session = write(engine, 101, 100)
    os.kill(int(engine.ok("inspect", "-f", "{{.State.Pid}}", "db")), signal.SIGKILL)
    assert engine.ok("wait", "db") == "137"
    session.communicate(timeout=60)
    engine.ok("start", "db")
    await_ready(engine)
    check_whole(engine, 200)
    sums = ("SELECT sum(abalance) FROM pgbench_accounts", "SELECT sum(delta) FROM pgbench_history")
    assert len({sql(engine, f"SELECT coalesce(({query}), 0)") for query in sums}) == 1, (
        "each transaction is whole"
    )
    engine.ok("rm", "-fv", "db")
    assert engine.ok("volume", "ls", "-q") == "rows"
    engine.ok("volume", "rm", "rows")


def test_without_a_volume_it_goes_with_its_container(engine: Tiffin) -> None:
    start(engine)
    sql(engine, "CREATE TABLE kept (number int PRIMARY KEY)")
    engine.ok("restart", "db")
    await_ready(engine)
    assert sql(engine, "SELECT count(*) FROM kept") == "0", "its own files outlive a restart"
    engine.ok("rm", "-f", "db")
    start(engine)
    assert sql(engine, "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'") == "0"
    engine.ok("rm", "-f", "db")
