"""A small, tolerant reader of X.509 certificates in DER: what stricter readers refuse to load."""

import datetime as dt
import re
from collections.abc import Iterator

from msgspec import Struct

# RFC 4514 section 3, and the e-mail address that many certificates carry.
_ATTRIBUTES = {
    "2.5.4.3": "CN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU", "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "emailAddress",
}  # fmt: skip
_ENCODINGS = {20: "latin-1", 28: "utf-32-be", 30: "utf-16-be"}
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:\.\d+)?(Z|[+-]\d{4})?")
_RSA_PSS = "1.2.840.113549.1.1.10"
_SHA1 = "1.3.14.3.2.26"


class DerError(ValueError):
    """The bytes are not a certificate that this reader understands."""


class Fields(Struct, frozen=True):
    """The fields of one certificate. Times are aware, names as in RFC 4514, OIDs dotted.

    `hash_oid` is the hash that an RSA-PSS signature names in its parameters, else "". `key_bits`
    is the length of the RSA modulus or of the elliptic curve's field where it is explicit, else
    0; `curve_oid` names the curve, else "". `length` is how many bytes the certificate takes.
    """

    subject: str
    issuer: str
    self_issued: bool
    serial: int
    not_before: dt.datetime
    not_after: dt.datetime
    signature_oid: str
    hash_oid: str
    key_oid: str
    curve_oid: str
    key_bits: int
    length: int


class Node:
    """One element: its tag and its content, which may hold further elements."""

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        end = len(data) if end is None else end
        if end - start < 2:
            raise DerError("an element is cut off")
        self.tag = data[start]
        first, size = start + 2, data[start + 1]
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[first : first + count], "big")
            first += count
            if not 1 <= count <= 4:
                raise DerError("a length that DER does not allow")
        self.end = first + size
        if self.end > end or self.tag & 0x1F == 0x1F:
            raise DerError("an element is cut off, or has a tag no certificate has")
        self._data, self._first = data, first

    @property
    def content(self) -> bytes:
        """The content's bytes."""
        return self._data[self._first : self.end]

    def __iter__(self) -> Iterator["Node"]:
        start = self._first
        while start < self.end:
            child = Node(self._data, start, self.end)
            yield child
            start = child.end

    def items(self, least: int) -> list["Node"]:
        """The elements inside, of which there must be at least so many."""
        found = list(self) if self.tag & 0x20 else []
        if len(found) < least:
            raise DerError("a part is missing")
        return found

    @property
    def oid(self) -> str:
        """The content as a dotted object identifier."""
        if self.tag != 6 or not self.content or len(self.content) > 64:
            raise DerError("no object identifier where one belongs")
        arcs: list[int] = []
        value = 0
        for byte in self.content:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2) if arcs else 0
        return ".".join(
            map(str, [first, *(arc - 40 * first * (not n) for n, arc in enumerate(arcs))])
        )

    @property
    def text(self) -> str:
        """The content as text, whatever string type it has."""
        return self.content.decode(_ENCODINGS.get(self.tag, "utf-8"), "replace")


def read(data: bytes) -> Fields:
    """The certificate at the beginning of `data` (RFC 5280 section 4.1); what follows is ignored.

    Raises:
        DerError: it is not one.
    """
    whole = Node(data)
    body, algorithm, *_ = whole.items(3)
    fields = body.items(6)
    if fields[0].tag == 0xA0:  # the version; a v1 certificate has none
        del fields[0]
    if len(fields) < 6 or fields[0].tag != 2:
        raise DerError("no serial number where one belongs")
    serial, _, issuer, validity, subject, key = fields[:6]
    starts, ends = validity.items(2)[:2]
    signature_oid = algorithm.items(1)[0].oid
    key_oid, curve_oid, key_bits = _key(key)
    return Fields(
        subject=_name(subject),
        issuer=_name(issuer),
        self_issued=subject.content == issuer.content,
        serial=int.from_bytes(serial.content, "big", signed=True),
        not_before=_time(starts),
        not_after=_time(ends),
        signature_oid=signature_oid,
        hash_oid=_pss_hash(algorithm.items(1)) if signature_oid == _RSA_PSS else "",
        key_oid=key_oid,
        curve_oid=curve_oid,
        key_bits=key_bits,
        length=whole.end,
    )


def _name(name: Node) -> str:
    """RFC 4514: the last relative name first."""
    relative: list[str] = []
    for group in name.items(0):
        pairs = [pair.items(2)[:2] for pair in group.items(1)]
        relative.append("+".join(f"{_attribute(kind.oid)}={_escaped(v.text)}" for kind, v in pairs))
    return ",".join(reversed(relative))


def _attribute(oid: str) -> str:
    return _ATTRIBUTES.get(oid, oid)


def _escaped(text: str) -> str:
    text = re.sub(r'([,+"\\<>;])', r"\\\1", text).replace("\0", "\\00")
    text = re.sub(r"^([ #])", r"\\\1", text)
    return re.sub(r"(?<!\\) $", r"\\ ", text)


def _time(node: Node) -> dt.datetime:
    text = node.text
    if node.tag == 23:  # UTCTime has two digits for the year: 50 is 1950
        text = ("19" if text[:2] >= "50" else "20") + text
    found = _TIME.fullmatch(text)
    if found is None or node.tag not in {23, 24}:
        raise DerError("no time where one belongs")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    zone = found[7] if found[7] not in {None, "Z"} else "+0000"
    east = dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
    try:
        local = dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
        return local + east if zone[0] == "-" else local - east
    except (ValueError, OverflowError) as error:
        raise DerError(f"no such time: {text}") from error


def _key(key: Node) -> tuple[str, str, int]:
    algorithm, bits = key.items(2)[:2]
    kind, *parameters = algorithm.items(1)
    curve, size = "", 0
    if parameters and parameters[0].tag == 6:
        curve = parameters[0].oid
    elif parameters and parameters[0].tag == 0x30 and kind.oid == "1.2.840.10045.2.1":
        prime = parameters[0].items(2)[1].items(2)[1]  # ECParameters: version, FieldID
        size = int.from_bytes(prime.content, "big").bit_length()
    elif kind.oid.startswith("1.2.840.113549.1.1."):
        modulus = Node(bits.content[1:]).items(1)[0]
        size = int.from_bytes(modulus.content, "big").bit_length()
    return kind.oid, curve, size


def _pss_hash(algorithm: list[Node]) -> str:
    """RFC 4055 section 3.1: SHA-1 unless the parameters name another hash."""
    for parameter in algorithm[1:2]:
        for field in parameter.items(0):
            if field.tag == 0xA0:
                return field.items(1)[0].items(1)[0].oid
    return _SHA1
