from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.images.engine import open_images
from tiffin.images import Images


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    """The image room of an engine of the test's own."""
    opened = open_images(tmp_path)
    yield opened
    opened.store.close()
