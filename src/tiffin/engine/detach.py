"""Docker's detach keys: "ctrl-p,ctrl-q" typed at a terminal leaves the container running."""

from tiffin.errors import InvalidArgument

_CONTROLS = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse_keys(text: str) -> bytes:
    """The bytes of a key sequence: single characters, DEL, or ctrl- with a letter or one of @[\\]^_. "" is none."""
    keys = bytearray()
    for key in text.split(",") if text else ():
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif len(key) == 6 and key.startswith("ctrl-") and key[5] in _CONTROLS:
            keys.append(ord(key[5].upper()) & 0x1F)
        elif key == "DEL":
            keys.append(0x7F)
        else:
            raise InvalidArgument(
                f"Invalid detach keys ({text}) provided: {key!r} is not a key; want characters, ctrl-a to ctrl-z, "
                f"ctrl-@ [ \\ ] ^ _ or DEL, with commas between"
            )
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

    def end(self) -> bytes:
        """What was held back, once nothing more is typed."""
        held, self._held = self._held, b""
        return held
