"""Which host keys the user's known_hosts files trust, as OpenSSH reads them (sshd(8)).

paramiko's own reader rejects a whole file for one `@revoked` or `@cert-authority` line, never
matches a pattern, and takes quadratic time.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

_HASHED = re.compile(r"\|1\|([A-Za-z0-9+/=]+)\|([A-Za-z0-9+/=]+)")
_REVOKED, _AUTHORITY = "@revoked", "@cert-authority"
_TYPE_LENGTH = 4


class Entry(Struct, frozen=True):
    """One line: its marker ("", "@revoked" or "@cert-authority"), its key, and where it stands."""

    marker: str
    type: str
    blob: bytes
    source: str


class Known(Struct, frozen=True):
    """What the files say of one host."""

    entries: tuple[Entry, ...]

    @property
    def keys(self) -> tuple[Entry, ...]:
        """The lines that trust a key."""
        return tuple(entry for entry in self.entries if not entry.marker)

    @property
    def authorities(self) -> tuple[Entry, ...]:
        """The lines that trust an authority which certifies host keys."""
        return tuple(entry for entry in self.entries if entry.marker == _AUTHORITY)

    def revoked(self, blob: bytes) -> Entry | None:
        """The line that revokes this key, or None."""
        return next((e for e in self.entries if e.marker == _REVOKED and e.blob == blob), None)

    def trusts(self, blob: bytes) -> bool:
        """Whether a line names this very key and none revokes it."""
        return self.revoked(blob) is None and any(key.blob == blob for key in self.keys)


class KnownHosts:
    """Several known_hosts files, indexed: a plain name is found in constant time."""

    def __init__(self) -> None:
        self._plain: dict[str, list[Entry]] = {}
        self._hashed: list[tuple[bytes, bytes, Entry]] = []
        self._patterns: list[tuple[list[str], Entry]] = []

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "KnownHosts":
        """Read the files that exist; a line that cannot be understood is skipped, as ssh does."""
        known = cls()
        for path in paths:
            try:
                data = path.read_bytes()
            except OSError:
                continue
            for number, line in enumerate(data.split(b"\n"), 1):
                known.add(line.decode("utf-8", "replace"), f"{path}:{number}")
        return known

    def add(self, line: str, source: str) -> None:
        """Take in one line; `source` says where it stands."""
        words = line.split()
        if not words or words[0].startswith("#"):
            return
        marker = words.pop(0) if words[0].startswith("@") else ""
        if marker not in {"", _REVOKED, _AUTHORITY} or len(words) < 3:
            return
        blob = _blob(words[1], words[2])
        if blob is None:
            return
        entry = Entry(marker, words[1], blob, source)
        if words[0].startswith("|"):
            self._add_hashed(words[0], entry)
            return
        names = words[0].lower().split(",")
        if any(set("*?!") & set(name) for name in names):
            self._patterns.append((names, entry))
        else:
            for name in set(names):
                self._plain.setdefault(name, []).append(entry)

    def _add_hashed(self, name: str, entry: Entry) -> None:
        found = _HASHED.fullmatch(name)
        if found is None:
            return
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in found.groups())
        except binascii.Error:
            return
        self._hashed.append((salt, digest, entry))

    def find(self, host: str, port: int) -> Known:
        """What is known of the host, under the name that `host_pattern` makes."""
        name = host_pattern(host, port)
        entries = list(self._plain.get(name, ()))
        entries += (
            entry
            for salt, digest, entry in self._hashed
            if hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
        )
        entries += (entry for names, entry in self._patterns if _matches(names, name))
        return Known(tuple(entries))


def host_pattern(host: str, port: int) -> str:
    """The name under which known_hosts files keep a host: "host", or "[host]:port" if not 22."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def _blob(kind: str, text: str) -> bytes | None:
    """The key's bytes, if they are base64 and say themselves that they are of this type."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    length = int.from_bytes(blob[:_TYPE_LENGTH], "big")
    named = blob[_TYPE_LENGTH : _TYPE_LENGTH + length]
    return blob if named == kind.encode() and len(blob) > _TYPE_LENGTH + length else None


def _matches(patterns: list[str], name: str) -> bool:
    """Whether one pattern matches and no negated one does; only * and ? are special."""
    hit = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if _glob(pattern[negated:]).fullmatch(name):
            if negated:
                return False
            hit = True
    return hit


def _glob(pattern: str) -> re.Pattern[str]:
    special = {"*": ".*", "?": "."}
    return re.compile("".join(special.get(c) or re.escape(c) for c in pattern), re.DOTALL)


def fingerprint(blob: bytes) -> str:
    """A key's SHA-256 fingerprint as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def append(path: Path, host: str, port: int, kind: str, blob: bytes, *, hashed: bool) -> None:
    """Add a line that trusts this key for this host, as ssh does for a new one.

    Raises:
        OSError: the file cannot be written.
    """
    name = host_pattern(host, port)
    if hashed:
        salt = os.urandom(20)
        parts = (salt, hmac.digest(salt, name.encode(), "sha1"))
        name = "|1|" + "|".join(base64.b64encode(part).decode() for part in parts)
    line = f"{name} {kind} {base64.b64encode(blob).decode()}\n".encode()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(handle, line)
    finally:
        os.close(handle)
