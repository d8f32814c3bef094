"""Digests without OpenSSL are those with it."""

import hashlib
import subprocess
import sys

import pytest

from tiffin.oci.digest import sha256


@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 17, (1 << 17) + 1])
def test_a_document_has_the_digest_that_hashlib_gives(size: int) -> None:
    assert sha256(b"x" * size) == hashlib.sha256(b"x" * size).hexdigest()


@pytest.mark.parametrize("hidden", ["", "_sha256", "_sha2"])
def test_it_is_the_same_before_hashlib_is_loaded_and_on_a_python_without_the_small_one(hidden: str) -> None:
    program = "import sys\nif sys.argv[1]: sys.modules[sys.argv[1]] = None\n"
    program += "from tiffin.oci.digest import sha256\nprint(sha256(b'abc'))"
    done = subprocess.run([sys.executable, "-c", program, hidden], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(b"abc").hexdigest()
