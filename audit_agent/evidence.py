"""Evidence as bytes: the collector's framed stream, and the sealed evidence file."""

import datetime as dt
import hashlib
import io
import lzma
import os
import re
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from audit_agent import __version__
from audit_agent.model import Evidence, Gap, Identity, Privilege, Section

STREAM_LIMIT = 64 * 1024 * 1024
"""The most a stream may hold, unpacked, in bytes: what a host sends is not trusted."""

_STDERR_LIMIT = 4000

FORMAT = "audit-agent/evidence/1"
_HEADER = re.compile(rb"^AUDIT-AGENT-STREAM/1 ([0-9a-f]{32}) (\S+) (plain|gzip)\r?\n", re.MULTILINE)
_DENIED = re.compile(
    rb"permission denied|operation not permitted|must be root|are you root|access denied"
    rb"|not allowed|superuser",
    re.IGNORECASE,
)


class StreamError(Exception):
    """The bytes are not a collector's stream; the message says what is there instead."""


class EvidenceDamaged(Exception):  # noqa: N818 - reads as what it says
    """An evidence file that is not what was sealed; the message names the section."""


class Stream(msgspec.Struct, frozen=True):
    """A parsed stream. `complete` is False where its end mark is missing."""

    nonce: str
    collector: str
    complete: bool
    sections: dict[str, Section]


def parse_stream(data: bytes, nonce: str | None = None) -> Stream:
    """Read a collector's stream; whatever stands before its header is ignored.

    A stream that breaks off is kept: the section it broke in has the gap LOST.

    Raises:
        StreamError: there is no header, or not one with `nonce`.
    """
    for header in _HEADER.finditer(data[: 1 << 20]):
        if nonce is None or header[1].decode() == nonce:
            break
    else:
        raise StreamError(_what_instead(data))
    body = data[header.end() :]
    if header[3] == b"gzip":
        body = _unzip(body)
    body = body[:STREAM_LIMIT]
    sections, complete = _parse_frames(body, header[1])
    return Stream(header[1].decode(), header[2].decode("utf-8", "replace"), complete, sections)


def _what_instead(data: bytes) -> str:
    if not data.strip():
        return "the collector's output is empty"
    first = data.strip().splitlines()[0][:80].decode("utf-8", "replace")
    return f"no collector stream found; the output begins with {printable(first)!r}"


def printable(text: str) -> str:
    """`text` with every control character replaced by "?", fit for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _unzip(body: bytes) -> bytes:
    """Gunzip as far as the bytes go; a broken tail is dropped, a bomb is cut."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        return inflate.decompress(body, STREAM_LIMIT + 1)
    except zlib.error:
        pass
    # Damaged somewhere: go again in small steps and keep what comes before the damage.
    inflate = zlib.decompressobj(wbits=31)
    good = bytearray()
    for start in range(0, len(body), 512):
        try:
            good += inflate.decompress(body[start : start + 512], STREAM_LIMIT - len(good) + 1)
        except zlib.error:
            break
    return bytes(good)


def _parse_frames(body: bytes, nonce: bytes) -> tuple[dict[str, Section], bool]:
    sections: dict[str, Section] = {}
    marks = list(
        re.finditer(
            rb"^@" + nonce + rb" (begin|none|end|status|close|done)(?: ([^\n]*))?$",
            body,
            re.MULTILINE,
        )
    )
    done = False
    for index, mark in enumerate(marks):
        word = mark[1]
        if word == b"none":
            section = _none(mark[2] or b"")
        elif word == b"begin":
            section = _frame(body, marks[index : index + 4])
        else:
            done = done or word == b"done"
            continue
        sections.setdefault(section.name, section)
    return sections, done


def _none(rest: bytes) -> Section:
    name, _, word = rest.decode("utf-8", "replace").rpartition(" ")
    gap = Gap(word) if word in set(Gap) else Gap.FAILED
    return Section(name=name, command=name.removeprefix("file:"), gap=gap)


def _frame(body: bytes, marks: list[re.Match[bytes]]) -> Section:
    """The section that begins at the first of `marks` (begin, end, status, close)."""
    name = (marks[0][2] or b"").decode("utf-8", "replace")
    begin = marks[0].end() + 1
    newline = body.find(b"\n", begin)
    command = body[begin : newline if newline >= 0 else len(body)]
    text = command.decode("utf-8", "replace")
    start = begin + len(command) + 1
    if [mark[1] for mark in marks[1:]] != [b"end", b"status", b"close"]:
        stop = marks[1].start() - 1 if len(marks) > 1 else len(body)
        return Section(name=name, command=text, gap=Gap.LOST, stdout=body[start:stop])
    _, end, state, close = marks
    stdout = body[start : max(start, end.start() - 1)]
    before = body[end.end() + 1 : state.start()]
    after = body[state.end() + 1 : close.start()]
    return _judged(
        name, text, stdout, (before + after).strip(b"\n"), end[2] or b"", state[2] or b""
    )


def _judged(
    name: str, command: str, stdout: bytes, stderr: bytes, end: bytes, state: bytes
) -> Section:
    ticks, _, limit = end.partition(b" ")
    status = _int(state)
    most = _int(limit)
    truncated = most is not None and len(stdout) > most
    return Section(
        name=name,
        command=command,
        exit_status=status,
        duration=(_int(ticks) or 0) / 100,
        truncated=truncated,
        gap=Gap.TRUNCATED if truncated else _gap(status, stderr),
        stdout=stdout[:most] if truncated else stdout,
        stderr=stderr[:_STDERR_LIMIT],
    )


def _gap(status: int | None, stderr: bytes) -> Gap | None:
    """What an exit status means: 124, 137, 143 are timeout(1), 126 and 127 the shell."""
    if status == 0:
        return None
    if status in {124, 137, 143}:
        return Gap.TIMEOUT
    if status == 127:
        return Gap.NO_TOOL
    if status == 126 or _DENIED.search(stderr):
        return Gap.DENIED
    return Gap.FAILED


def _int(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"-?\d{1,12}", text) else None


def from_stream(
    stream: Stream,
    *,
    target: str,
    address: str = "",
    via: str = "login",
    collected_at: dt.datetime | None = None,
    interrupted: str = "",
    extra: tuple[Section, ...] = (),
) -> Evidence:
    """Evidence from a stream and from what the controller itself observed (`extra`).

    Without `collected_at` the host's own clock dates it, as for a stream carried by hand.

    Raises:
        StreamError: neither the caller nor the stream tells when it was collected.
    """
    sections = stream.sections | {section.name: section for section in extra}
    when = collected_at or _host_time(sections)
    if when is None:
        raise StreamError("the stream does not hold the host's clock (section host.clock)")
    return Evidence(
        identity=_identity(sections),
        privilege=_privilege(sections, via),
        target=target,
        address=address,
        collected_at=when,
        clock="controller" if collected_at else "host",
        collector=stream.collector,
        complete=stream.complete,
        interrupted=interrupted or ("" if stream.complete else "the stream has no end mark"),
        sections=sections,
    )


def _first_line(sections: dict[str, Section], name: str) -> str:
    section = sections.get(name)
    return section.lines[0].strip() if section is not None and section.lines else ""


def _host_time(sections: dict[str, Section]) -> dt.datetime | None:
    section = sections.get("host.clock")
    lines = section.lines if section is not None else []
    try:
        utc = dt.datetime.strptime(lines[0], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
        return utc.astimezone(dt.datetime.strptime(lines[1], "%z").tzinfo)
    except (IndexError, ValueError, OverflowError):
        return None


def _identity(sections: dict[str, Section]) -> Identity:
    addresses: list[str] = []
    section = sections.get("net.addresses")
    for line in section.lines if section is not None else []:
        found = re.search(r"\binet6? (\S+?)/\d+ .*scope global", line)
        if found and found[1] not in addresses:
            addresses.append(found[1])
    digest = _first_line(sections, "host.machine-id").partition(" ")[0]
    return Identity(
        hostname=printable(_first_line(sections, "host.name"))[:255],
        machine_id_sha256=digest if re.fullmatch("[0-9a-f]{64}", digest) else "",
        addresses=tuple(addresses),
    )


def _privilege(sections: dict[str, Section], via: str) -> Privilege:
    found = re.match(r"uid=(\d+)\(([^)]*)\)|uid=(\d+)", _first_line(sections, "host.privilege"))
    if found is None:
        return Privilege(user="", uid=None, via=via)
    return Privilege(user=printable(found[2] or ""), uid=int(found[1] or found[3]), via=via)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section's row in the manifest; `file` is its member of the archive."""

    name: str
    file: str
    command: str
    exit_status: int | None
    duration: float
    truncated: bool
    gap: Gap | None
    size: int
    sha256: str
    stderr: str


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifest.json`: all of the evidence but the raw bytes, which it holds by hash."""

    format: str
    tool: str
    collector: str
    host: Identity
    target: str
    address: str
    privilege: Privilege
    collected_at: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    clock: Literal["controller", "host"]
    complete: bool
    interrupted: str
    sections: list[_Entry]


def _manifest(evidence: Evidence) -> bytes:
    entries = [
        _Entry(
            name=section.name,
            file=f"sections/{index:04d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', section.name)[:80]}",
            command=section.command,
            exit_status=section.exit_status,
            duration=section.duration,
            truncated=section.truncated,
            gap=section.gap,
            size=len(section.stdout),
            sha256=hashlib.sha256(section.stdout).hexdigest(),
            stderr=section.stderr.decode("utf-8", "replace"),
        )
        for index, section in enumerate(evidence.sections.values())
    ]
    manifest = _Manifest(
        format=FORMAT,
        tool=f"audit-agent {__version__}",
        collector=evidence.collector,
        host=evidence.identity,
        target=evidence.target,
        address=evidence.address,
        privilege=evidence.privilege,
        collected_at=evidence.collected_at,
        clock=evidence.clock,
        complete=evidence.complete,
        interrupted=evidence.interrupted,
        sections=entries,
    )
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def digest(evidence: Evidence) -> str:
    """SHA-256 (hex) of the manifest, which holds the hash of every section: names the evidence."""
    return hashlib.sha256(_manifest(evidence)).hexdigest()


def pack(evidence: Evidence) -> tuple[bytes, str]:
    """The evidence file's bytes, and the evidence's `digest`."""
    manifest = _manifest(evidence)
    sealed = hashlib.sha256(manifest).hexdigest()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", manifest)
        archive.writestr("manifest.sha256", f"{sealed}  manifest.json\n")
        entries = msgspec.json.decode(manifest, type=_Manifest).sections
        for entry, section in zip(entries, evidence.sections.values(), strict=True):
            archive.writestr(entry.file, section.stdout)
    return packed.getvalue(), sealed


def save(evidence: Evidence, path: Path) -> str:
    """Write the evidence file (mode 0600, whole or not at all) and return its `digest`.

    Raises:
        OSError: it cannot be written.
    """
    data, sealed = pack(evidence)
    write_atomically(path, data, mode=0o600)
    return sealed


def write_atomically(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file so that it is either whole or not there; a device or a pipe is written to.

    Raises:
        OSError: it cannot be written.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()  # a symbolic link stays one
    handle, name = tempfile.mkstemp(prefix=".audit-agent-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: Path) -> Evidence:
    """Read an evidence file, checking every hash.

    Raises:
        EvidenceDamaged: it is not an evidence file, or not as it was sealed.
        OSError: it cannot be read.
    """
    # Read first: in a damaged archive a bad offset would look like a disk that cannot be read.
    data = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(data) as archive:
            return _load(archive)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
        lzma.LZMAError,
    ) as error:
        raise EvidenceDamaged(f"not a readable evidence file: {error}") from error


def _load(archive: zipfile.ZipFile) -> Evidence:
    members = {info.filename: info for info in archive.infolist()}
    raw = _read(archive, members, "manifest.json", STREAM_LIMIT)
    seal = _read(archive, members, "manifest.sha256", 256)
    if seal.split()[:1] != [hashlib.sha256(raw).hexdigest().encode()]:
        raise EvidenceDamaged("manifest.json is not as it was sealed")
    try:
        manifest = msgspec.json.decode(raw, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EvidenceDamaged(f"manifest.json: {error}") from error
    if manifest.format != FORMAT:
        raise EvidenceDamaged(f"its format is {manifest.format!r}, this version reads {FORMAT!r}")
    if sum(entry.size for entry in manifest.sections) > 2 * STREAM_LIMIT:
        raise EvidenceDamaged("it unpacks to more than a collection can hold")
    sections: dict[str, Section] = {}
    for entry in manifest.sections:
        if entry.name in sections:
            raise EvidenceDamaged(f"section {entry.name} stands in it twice")
        try:
            data = _read(archive, members, entry.file, entry.size)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise EvidenceDamaged(f"section {entry.name}: {error}") from error
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise EvidenceDamaged(f"section {entry.name} is not as it was sealed")
        sections[entry.name] = Section(
            name=entry.name,
            command=entry.command,
            exit_status=entry.exit_status,
            duration=entry.duration,
            truncated=entry.truncated,
            gap=entry.gap,
            stdout=data,
            stderr=entry.stderr.encode(),
        )
    extra = members.keys() - {e.file for e in manifest.sections} - _FIXED_MEMBERS
    if extra:
        raise EvidenceDamaged(f"holds files that were not sealed: {', '.join(sorted(extra))}")
    if len(members) != len(archive.infolist()):
        raise EvidenceDamaged("holds several files of the same name")
    return Evidence(
        identity=manifest.host,
        privilege=manifest.privilege,
        target=manifest.target,
        address=manifest.address,
        collected_at=manifest.collected_at,
        clock=manifest.clock,
        collector=manifest.collector,
        complete=manifest.complete,
        interrupted=manifest.interrupted,
        sections=sections,
    )


_FIXED_MEMBERS = {"manifest.json", "manifest.sha256"}


def _read(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, most: int
) -> bytes:
    """One member, refusing to unpack more than was sealed (a packed bomb)."""
    if name not in members:
        raise EvidenceDamaged(f"{name} is missing")
    if members[name].file_size > most:
        raise EvidenceDamaged(f"{name} is larger than what was sealed")
    return archive.read(name)
