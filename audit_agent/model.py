"""The records that cross rooms: evidence, outcomes, findings, reports. Imports nothing of ours."""

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from msgspec import Struct


class Status(StrEnum):
    """What a check says about one subject. Only PASS means that the control was seen to hold."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    MANUAL = "manual"
    NOT_APPLICABLE = "not_applicable"
    ERROR = "error"


class Severity(StrEnum):
    """How much a failed control matters, lowest first."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 4 for critical."""
        return list(Severity).index(self)


class Gap(StrEnum):
    """Why a section holds less than the host has.

    ABSENT is itself an observation (the file was looked for and does not exist); every other gap
    makes what depends on the section undecidable.
    """

    ABSENT = "absent"
    NO_TOOL = "no-tool"
    DENIED = "denied"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    FAILED = "failed"
    LOST = "lost"
    NOT_COLLECTED = "not-collected"


class Text(Struct, frozen=True):
    """One sentence in both report languages."""

    en: str
    zh: str

    def in_(self, lang: str) -> str:
        """The sentence in `lang` ("en" or "zh")."""
        return self.zh if lang == "zh" else self.en


class Section(Struct, frozen=True):
    """One thing read from a host: a command's output or a file's bytes, or why there is none.

    `name` is dotted ("net.sockets"), or "file:" and an absolute path for a file. `duration` is in
    seconds. `stdout` holds at most the section's byte limit; a cut is marked by `truncated`.
    """

    name: str
    command: str
    exit_status: int | None = None
    duration: float = 0.0
    truncated: bool = False
    gap: Gap | None = None
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def text(self) -> str:
        """`stdout` as text; undecodable bytes become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        """The lines of `text`, split at newlines only, so that line n is what `sed -n np` shows."""
        lines = self.text.split("\n")
        return lines[:-1] if lines[-1] == "" else lines


class EvidenceMissing(Exception):  # noqa: N818 - reads as what it says
    """A fact was asked for whose evidence does not exist; the engine turns it into UNKNOWN."""

    def __init__(self, section: str, gap: Gap, detail: str = "") -> None:
        super().__init__(f"{section}: {gap}")
        self.section = section
        self.gap = gap
        self.detail = detail


class Identity(Struct, frozen=True):
    """Who the host says it is. `machine_id_sha256` is hex, or "" where it could not be read."""

    hostname: str
    machine_id_sha256: str = ""
    addresses: tuple[str, ...] = ()


class Privilege(Struct, frozen=True):
    """Under which account the host was read. `via` is "login" or "sudo"."""

    user: str
    uid: int | None
    via: str = "login"

    @property
    def root(self) -> bool:
        """Whether the collector could read what only root can."""
        return self.uid == 0


class Evidence(Struct, frozen=True):
    """Everything read from one host at one time, raw.

    `collected_at` has a UTC offset and comes from `clock`: "controller" or, for a stream carried
    by hand, "host". `complete` is False when the stream ended before its end mark; `interrupted`
    then says why.
    """

    identity: Identity
    privilege: Privilege
    target: str
    address: str
    collected_at: dt.datetime
    clock: Literal["controller", "host"]
    collector: str
    complete: bool
    interrupted: str
    sections: Mapping[str, Section]

    def __getitem__(self, name: str) -> Section:
        """The section, whole and usable.

        Raises:
            EvidenceMissing: it was not collected, or has a gap (absence included).
        """
        section = self.sections.get(name)
        if section is None:
            raise EvidenceMissing(name, Gap.NOT_COLLECTED if self.complete else Gap.LOST)
        if section.gap is not None:
            detail = section.stderr.decode("utf-8", "replace").strip()
            raise EvidenceMissing(name, section.gap, detail)
        return section

    def file(self, path: str) -> Section | None:
        """The file's section, or None where the host was seen not to have that file.

        Raises:
            EvidenceMissing: the file exists but could not be read whole, or nobody looked.
        """
        section = self.sections.get(f"file:{path}")
        if section is not None and section.gap is Gap.ABSENT:
            return None
        return self[f"file:{path}"]

    def directory(self, path: str) -> list[Section]:
        """The files that lie directly in `path`, by name; empty where it was seen not to exist.

        A file that could not be read is among them, with its gap.

        Raises:
            EvidenceMissing: the directory exists but could not be listed, or nobody looked.
        """
        listing = self.sections.get(f"dir:{path}")
        if listing is not None and listing.gap is Gap.ABSENT:
            return []
        _ = self[f"dir:{path}"]
        start = f"file:{path}/"
        return [
            section
            for name, section in sorted(self.sections.items())
            if name.startswith(start) and "/" not in name[len(start) :]
        ]


class Quote(Struct, frozen=True):
    """Lines of a section that a statement rests on; 1-based, both ends included; 0, 0 is all."""

    section: str
    first: int = 0
    last: int = 0

    @property
    def lines(self) -> str:
        """The range as text: "3", "3-5", or "" for the whole section."""
        if not self.first:
            return ""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class Citation(Struct, frozen=True):
    """The clause a control rests on, with how well its text was verified.

    `kind` is LAW, STD, GUIDE or PRACTICE; `grade` V1 (full text read), V2 (quoted verbatim), V3
    (described by others) or U (unverified: printed as such).
    """

    key: str
    clause: str
    kind: str
    grade: str
    title: Text


class Outcome(Struct, frozen=True):
    """What a check says about one subject.

    `message` names a sentence in the area's TOML file, `values` fills its placeholders, and
    `observed` is the technical value seen, free of language. `severity` is set only where this
    subject weighs otherwise than the check does in general.
    """

    status: Status
    message: str
    subject: str = ""
    observed: str = ""
    values: Mapping[str, str | int | Text] = {}
    quotes: tuple[Quote, ...] = ()
    severity: Severity | None = None


class Finding(Struct, frozen=True):
    """An outcome with everything a reader needs to understand, verify and mend it."""

    check: str
    area: str
    area_title: Text
    status: Status
    severity: Severity
    title: Text
    subject: str
    summary: Text
    why: Text
    observed: str
    expected: Text
    basis: str
    citations: tuple[Citation, ...]
    quotes: tuple[Quote, ...]
    remediation: Text | None
    commands: tuple[str, ...]
    fingerprint: str


class HostReport(Struct, frozen=True):
    """One audited host: its evidence and what was found. `evidence_sha256` is the seal's hash."""

    evidence: Evidence
    evidence_sha256: str
    system: str
    findings: tuple[Finding, ...]


class Unreachable(Struct, frozen=True):
    """A host that could not be audited, and why (`reason` is a fixed word, `detail` a sentence)."""

    name: str
    address: str
    reason: str
    detail: str


class Results(Struct, frozen=True):
    """One run of the tool over one or more hosts."""

    tool_version: str
    started_at: dt.datetime
    auditor: str
    profile: str
    profile_title: Text
    hosts: tuple[HostReport, ...]
    unreachable: tuple[Unreachable, ...] = ()
