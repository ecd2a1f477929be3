"""Private key files by mode, owner and group; their content is never collected."""

import re
from collections.abc import Sequence

from msgspec import Struct

from audit_agent.facts.certificates import CertificateFile
from audit_agent.facts.webconfig.configuration import Reference
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section

_LISTED = re.compile(r"([-dlpscbD][-rwxsStT]{9})(\S?) +\d+ +(\d{1,10}) +(\d{1,10}) ")


class Mode(Struct, frozen=True):
    """One line of ls -n; `acl` says that an access-control list adds to the permission bits."""

    bits: int
    uid: int
    gid: int
    acl: bool
    quote: Quote

    def __str__(self) -> str:
        return f"{self.bits:04o}"


class KeyFile(Struct, frozen=True):
    """A file that holds a private key.

    `mode` is None where it could not be seen; `gap` then says why (ABSENT: it does not exist).
    `closed_by` is, for a key whose own mode lets everybody read it, the path and mode of a
    directory above it that does not let everybody in.
    """

    path: str
    references: tuple[Reference, ...]
    mode: Mode | None
    gap: Gap | None
    closed_by: tuple[str, Mode] | None


def read_key_files(
    evidence: Evidence, references: Sequence[Reference], files: Sequence[CertificateFile]
) -> list[KeyFile]:
    """Each file that holds a private key.

    That is, each file named as one, each certificate file with one in it, and each key that
    HAProxy finds beside its certificate.
    """
    by_path: dict[str, list[Reference]] = {}
    for reference in references:
        if reference.path and reference.role == "key":
            by_path.setdefault(reference.path, []).append(reference)
    listed = evidence.sections.get("tls.modes")
    for file in files:
        if file.key is not None:
            by_path.setdefault(file.path, []).extend(file.references)
            continue
        for path in (f"{file.path}.key", re.sub(r"\.[^./]*$", "", file.path) + ".key"):
            bundles = [reference for reference in file.references if reference.role == "bundle"]
            if bundles and listed is not None and _mode(listed, path) is not None:
                by_path.setdefault(path, []).extend(bundles)
                break
    return [_key_file(evidence, path, tuple(named)) for path, named in by_path.items()]


def _key_file(evidence: Evidence, path: str, references: tuple[Reference, ...]) -> KeyFile:
    unseen = evidence.sections.get(f"mode:{path}")
    try:
        mode = _mode(evidence["tls.modes"], path)
        gap = None if mode is not None else Gap.NOT_COLLECTED
    except EvidenceMissing as missing:
        mode, gap = None, missing.gap
    if mode is None and unseen is not None:
        gap = unseen.gap
    closed = _closed_by(evidence.sections.get("tls.ways"), path)
    return KeyFile(path, references, mode, gap, closed)


def _mode(listing: Section, path: str) -> Mode | None:
    for number, line in enumerate(listing.lines, 1):
        if line.endswith(f" {path}"):
            return parse_mode(line, Quote(listing.name, number, number))
    return None


def parse_mode(line: str, quote: Quote) -> Mode | None:
    """A line of ls -ldn, or None where it is none."""
    found = _LISTED.match(line)
    if found is None:
        return None
    letters = found[1][1:]
    bits = sum(1 << (8 - n) for n, letter in enumerate(letters) if letter not in "-ST")
    special = ((2, 0o4000), (5, 0o2000), (8, 0o1000))
    bits += sum(bit for n, bit in special if letters[n] in "sStT")
    return Mode(bits, int(found[3]), int(found[4]), found[2] == "+", quote)


def _closed_by(ways: Section | None, path: str) -> tuple[str, Mode] | None:
    """The first directory above the key's real place that not everybody may pass."""
    inside = False
    for number, line in enumerate(ways.lines if ways is not None and ways.gap is None else [], 1):
        if "\t" in line:
            inside = line.partition("\t")[0] == path
        elif inside and ways is not None:
            mode = parse_mode(line, Quote(ways.name, number, number))
            if mode is not None and not mode.bits & 0o001:
                return f"/{line.partition(' /')[2]}", mode
    return None
