"""Docker's detach keys: "ctrl-p,ctrl-q" typed at a terminal leaves the container running."""

from tiffin.errors import InvalidArgument


def parse_keys(text: str) -> bytes:
    """The bytes of a key sequence: single characters, or ctrl- with a letter or one of @[\\]^_. "" is none."""
    keys = bytearray()
    for key in text.split(",") if text else ():
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif len(key) == 6 and key.startswith("ctrl-") and key[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(key[5].upper()) & 0x1F)
        else:
            raise InvalidArgument(f'invalid detach keys: unknown character: "{key}"')
    return bytes(keys)


class DetachWatch:
    """Looks for the sequence in what is typed, holding back what may be its beginning."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence was completed (what follows it is dropped)."""
        if not self._keys:
            return typed, False
        data = self._held + typed
        found = data.find(self._keys)
        if found >= 0:
            self._held = b""
            return data[:found], True
        held = next(
            (
                size
                for size in range(min(len(self._keys) - 1, len(data)), 0, -1)
                if data.endswith(self._keys[:size])
            ),
            0,
        )
        self._held = data[len(data) - held :]
        return data[: len(data) - held], False
