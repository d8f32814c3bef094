"""T23: what a build is lent, or finds in a URL, is afterwards nowhere: no layer, blob, row, file, log or error."""

import base64
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.building import Bench
from tests.webserver import Answer, WebServer, Work
from tiffin.build.progress import StepLog
from tiffin.errors import TiffinError
from tiffin.layer.compress import open_decompressed

pytestmark = pytest.mark.root
NEEDLE = "n33dle-in-the-build"
FORMS = [
    NEEDLE.encode(),
    base64.b64encode(NEEDLE.encode()).rstrip(b"="),
    base64.b64encode(f"user:{NEEDLE}".encode()).rstrip(b"="),
    base64.b64encode(f"x-access-token:{NEEDLE}".encode()).rstrip(b"="),
]


def contents(top: str) -> Iterator[tuple[str, bytes]]:
    """Every file below `top`, as it is and decompressed; every name and link."""
    for where, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = f"{where}/{name}"
            yield path, name.encode()
            if os.path.islink(path):
                yield path, os.readlink(path).encode()
            elif os.path.isfile(path):
                data = Path(path).read_bytes()
                yield path, data
                if data[:2] == b"\x1f\x8b" or data[:4] == b"\x28\xb5\x2f\xfd":
                    with suppress(TiffinError), open(path, "rb") as file, open_decompressed(file) as plain:
                        pieces = []
                        while piece := plain.read(1 << 20):
                            pieces.append(piece)
                        yield path, b"".join(pieces)


def found_in(bench: Bench) -> list[str]:
    bench.store.db.execute("PRAGMA wal_checkpoint(FULL)")
    places = [
        path
        for top in (bench.layout.root, bench.layout.run)
        for path, data in contents(top)
        if any(form in data for form in FORMS)
    ]
    for event in bench.events:
        text = event.data if isinstance(event, StepLog) else repr(event).encode()
        if any(form in text for form in FORMS):
            places.append(repr(event))
    return places


def test_the_search_finds_what_is_there(based: Bench) -> None:
    based.build(f"FROM base\nRUN echo {NEEDLE} >/x; echo {NEEDLE}")
    places = found_in(based)
    assert any("/layers/" in place for place in places)
    assert any("/oci/blobs/" in place for place in places)
    assert any("tiffin.db" in place or "/oci/blobs/" in place for place in places)
    assert any("StepLog" in place for place in places)


def test_a_secret_is_nowhere_after_a_build_and_after_one_that_failed(
    based: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(NEEDLE)
    monkeypatch.setenv("TOKEN_OF_MINE", NEEDLE)
    lent = (f"id=file,src={tmp_path}/secret", "id=env,env=TOKEN_OF_MINE")
    mounts = (
        "--mount=type=secret,id=file --mount=type=secret,id=env,env=INNER "
        "--mount=type=secret,id=env,target=/etc/hidden/x "
        "--mount=type=cache,target=/c --mount=type=bind,from=base,target=/b,rw"
    )
    based.build(
        f'FROM base\nRUN {mounts} test "$INNER" = "$(cat /run/secrets/file)"; cat /etc/hidden/x | wc -c\n'
        "RUN ls -R /run /etc /c; env",
        secrets=lent,
    )
    assert found_in(based) == []
    with pytest.raises(TiffinError) as caught:
        based.build(f"FROM base\nRUN {mounts} exit 3", secrets=lent)
    assert NEEDLE not in f"{caught.value}{vars(caught.value)}"
    assert found_in(based) == []


def test_while_a_step_runs_its_secret_is_in_memory_alone(based: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(NEEDLE)
    places: list[str] = []

    def look(event: object, /) -> None:
        if isinstance(event, StepLog):
            places.append("asked")
            places.extend(path for path, data in contents(based.layout.root) if NEEDLE.encode() in data)
            (based.context / "go").touch()

    from tiffin.build import BuildRequest

    request = BuildRequest(
        str(based.context),
        b"FROM base\nRUN --mount=type=secret,id=s echo ready; cat /run/secrets/s >/dev/null",
        network="none",
        secrets=(f"id=s,src={tmp_path}/secret",),
        progress=look,
    )
    based.builder().build(request)
    assert places == ["asked"]


def test_the_user_of_a_url_is_sent_and_written_nowhere(based: Bench, web: WebServer) -> None:
    web.answer({"/f": Answer(b"x")})
    url = web.url.replace("//", f"//user:{NEEDLE}@")
    based.build(f"FROM base\nADD {url}/f /f")
    sent = [asked.headers.get("authorization", "") for asked in web.asked]
    assert sent == ["Basic " + base64.b64encode(f"user:{NEEDLE}".encode()).decode()]
    assert found_in(based) == []
    with pytest.raises(TiffinError) as caught:
        based.build(f"FROM base\nADD {url}/nothing /f")
    assert NEEDLE not in f"{caught.value}{vars(caught.value)}"
    assert found_in(based) == []


def test_the_user_of_a_git_url_is_sent_and_written_nowhere(based: Bench, web: WebServer, work: Work) -> None:
    work.commit({"f": "1"})
    url = web.url.replace("//", f"//user:{NEEDLE}@") + "/git/project.git"
    based.build(f"FROM base\nADD --keep-git-dir {url} /src")
    assert {asked.headers.get("authorization", "")[:6] for asked in web.asked} == {"Basic "}
    assert found_in(based) == []
    with pytest.raises(TiffinError) as caught:
        based.build(f"FROM base\nADD {url}#nothing /src")
    assert NEEDLE not in f"{caught.value}{vars(caught.value)}"
    assert found_in(based) == []
