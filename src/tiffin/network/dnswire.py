"""DNS messages, as far as answering names of containers needs them (RFC 1035, section 4). Pure, bounded."""

import struct

from tiffin.errors import InvalidArgument
from tiffin.typed import NamedTuple

A, PTR, AAAA = 1, 12, 28
FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED = 1, 2, 4, 5
DATAGRAM = 512  # what every client takes (section 4.2.1)
_INTERNET, _ANY_CLASS = 1, 255
_HEADER = struct.Struct("!HHHHHH")
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_TTL = 5  # seconds: containers come and go
_LONGEST = 255


class Question(NamedTuple):
    """The one question of a query: the name in lower case without the last dot; `end` is where it ends."""

    identity: int
    flags: int
    name: str
    kind: int
    end: int


def parse_query(data: bytes) -> Question:
    """Raises InvalidArgument for what is no standard query with one question about the Internet."""
    if len(data) < _HEADER.size:
        raise InvalidArgument("a DNS message without a whole header")
    identity, flags, questions, *_ = _HEADER.unpack_from(data)
    if flags & (_QR | _OPCODE) or questions != 1:
        raise InvalidArgument("no standard DNS query with one question")
    labels: list[str] = []
    offset = _HEADER.size
    while True:
        if offset >= len(data):
            raise InvalidArgument("a DNS name that does not end")
        length = data[offset]
        offset += 1
        if not length:
            break
        if length > 63 or offset + length > len(data) or offset - _HEADER.size + length > _LONGEST:
            raise InvalidArgument("a DNS name with a bad label")
        labels.append(data[offset : offset + length].decode("latin-1").lower())
        offset += length
    if offset + 4 > len(data):
        raise InvalidArgument("a DNS question without its type")
    kind, family = struct.unpack_from("!HH", data, offset)
    if family not in (_INTERNET, _ANY_CLASS):
        raise InvalidArgument("a DNS question about no Internet name")
    return Question(identity, flags, ".".join(labels), kind, offset + 4)


def reply(
    query: bytes, question: Question, code: int, answers: "list[tuple[int, bytes]]", limit: int = 65535
) -> bytes:
    """The response with these records (type, data) of the question's name; cut, and marked so, at `limit` bytes."""
    body = query[_HEADER.size : question.end]
    flags = _QR | _AA | _RA | (question.flags & _RD) | code
    count = 0
    for kind, data in answers:
        record = struct.pack("!HHHIH", 0xC000 | _HEADER.size, kind, _INTERNET, _TTL, len(data)) + data
        if _HEADER.size + len(body) + len(record) > limit:
            flags |= _TC
            break
        body += record
        count += 1
    return _HEADER.pack(question.identity, flags, 1, count, 0, 0) + body


def refuse(data: bytes) -> bytes:
    """The response to what `parse_query` refuses; b"" to what is no query at all: whoever answers an answer may never
    stop."""
    if len(data) < _HEADER.size or data[2] & 0x80:
        return b""
    return data[:2] + struct.pack("!HHHHH", _QR | _RA | FORMAT_ERROR, 0, 0, 0, 0)


def has_failed(response: bytes) -> bool:
    """Whether a response says that this server cannot tell, rather than what it knows."""
    return response[3] & 0x0F in (SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED)


def encode_name(name: str) -> bytes:
    """A name as labels."""
    parts = [part.encode("latin-1", "replace")[:63] for part in name.split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def belongs(query: bytes, response: bytes) -> bool:
    """Whether a response is one to this query: the same number and the same question."""
    if len(response) < _HEADER.size or response[:2] != query[:2] or not response[2] & 0x80:
        return False
    try:
        end = parse_query(query).end
        asked = query[_HEADER.size : end]
    except InvalidArgument:
        return False
    return response[_HEADER.size : end].lower() == asked.lower()
