"""The seal of a report: its last line is a comment with the SHA-256 of every byte before it.

A seal shows damage and careless edits. It does not show who made the report, and whoever edits
the report on purpose can seal it again: keep the hash, or a signature, in another place.
"""

import hashlib
import re

_LAST_LINE = re.compile(rb"<!-- audit-agent seal sha256 ([0-9a-f]{64}) -->\n")


class SealBroken(Exception):  # noqa: N818 - reads as what it says
    """The bytes carry no seal, or are not the bytes that were sealed; the message says which."""


def seal(body: bytes) -> bytes:
    """`body` with its seal as a further, last line."""
    if not body.endswith(b"\n"):
        body += b"\n"
    digest = hashlib.sha256(body).hexdigest()
    return body + f"<!-- audit-agent seal sha256 {digest} -->\n".encode()


def verify(sealed: bytes) -> str:
    """The SHA-256 (hex) that the seal holds, which is that of every line before it.

    Raises:
        SealBroken: there is no seal, something stands after it, or the bytes before it changed.
    """
    start = sealed.rstrip(b"\n").rfind(b"\n") + 1
    found = _LAST_LINE.fullmatch(sealed[start:])
    if found is None:
        if _LAST_LINE.search(sealed):
            raise SealBroken("something was added after the seal, or the seal line was changed")
        raise SealBroken("it has no seal: its last line is not that of an audit-agent report")
    digest = hashlib.sha256(sealed[:start]).hexdigest()
    if digest != found[1].decode():
        raise SealBroken(
            f"it was changed after it was sealed: sealed {found[1].decode()}, now {digest}"
        )
    return digest
