import pytest

from tiffin.errors import NoSpace
from tiffin.images.compressor import Compressor


class FullAfter:
    """A blob whose disk is full after some writes."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def write(self, data: object) -> int:
        self.left -= 1
        if self.left < 0:
            raise NoSpace("no space left")
        return 1


@pytest.mark.timeout(20)
@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_disk_that_fills_up_at_any_write_ends_the_compressor_with_that_error(writes: int) -> None:
    """Also at the very last, of the trailer, when no more pieces come."""
    blob = FullAfter(writes)
    with pytest.raises(NoSpace), Compressor(blob) as compressor:  # type: ignore[arg-type] # writes is all it asks
        for number in range(40):
            compressor.write(bytes([number]) * 100_000)
        while blob.left > 0:
            compressor.write(bytes(range(256)) * 4096)
