import os
from pathlib import Path

import pytest

from tests.suites.content import DATA, DIGEST, ContentSuite
from tiffin.content import LocalContent
from tiffin.errors import Corrupt
from tiffin.state import locate, open_store


@pytest.fixture
def store(tmp_path: Path) -> LocalContent:
    opened = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    opened.close()
    return LocalContent(opened.layout)


class TestLocalContent(ContentSuite):
    def test_nothing_stays_in_staging(self, store: LocalContent, tmp_path: Path) -> None:
        store.put_bytes(DATA)
        with store.writer() as blob:
            blob.write(DATA)
            blob.commit()
        with store.writer() as blob:
            blob.write(b"given up")
        assert os.listdir(tmp_path / "root/staging") == []

    def test_a_blob_damaged_on_disk_is_noticed(self, store: LocalContent) -> None:
        store.put_bytes(DATA)
        Path(store.path(DIGEST)).write_bytes(DATA[:-1] + b"x")
        with pytest.raises(Corrupt, match="damaged on disk"):
            store.read_bytes(DIGEST, len(DATA))

    def test_blobs_are_for_their_owner_alone(self, store: LocalContent) -> None:
        store.put_bytes(DATA)
        assert os.stat(store.path(DIGEST)).st_mode & 0o077 == 0
