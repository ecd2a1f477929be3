"""systemd-journald: where it stores, and what makes it delete (journald.conf(5))."""

import datetime as dt
import re

from msgspec import Struct

from audit_agent.facts.logfiles import Listing, epoch
from audit_agent.model import Evidence, EvidenceMissing, Quote, Section

_FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
"""By falling precedence: a drop-in hides those of the same name that come after."""

_UNITS = {
    "usec": 1e-6, "us": 1e-6, "msec": 1e-3, "ms": 1e-3,
    "seconds": 1, "second": 1, "sec": 1, "s": 1, "": 1,
    "minutes": 60, "minute": 60, "min": 60, "m": 60,
    "hours": 3600, "hour": 3600, "hr": 3600, "h": 3600,
    "days": 86400, "day": 86400, "d": 86400,
    "weeks": 604800, "week": 604800, "w": 604800,
    "months": 2629800, "month": 2629800, "M": 2629800,
    "years": 31557600, "year": 31557600, "y": 31557600,
}  # fmt: skip
_DAY = 86400
_MONTH = 2629800.0


class Setting(Struct, frozen=True):
    """A value in force, and the line that gives it."""

    value: str
    quote: Quote


class Journald(Struct, frozen=True):
    """journald's configuration in force.

    `storage` is what its Storage= comes to: "persistent", "volatile" or "none". `retention` and
    `file_span` are MaxRetentionSec= and MaxFileSec= in days, 0 for off. Sizes always have a limit:
    `cap` is SystemMaxUse= as given, or "" for the default (10 % of the file system, 4G at most).
    """

    storage: str
    retention: float
    file_span: float
    cap: str
    quotes: tuple[Quote, ...]

    @property
    def least(self) -> float:
        """The days that MaxRetentionSec= leaves of the youngest record that it deletes.

        Whole files go, by the age of their first record (systemd issues 23461 and 31315).
        """
        return max(self.retention - self.file_span, 0) if self.file_span else 0


class JournalSpan(Struct, frozen=True):
    """The first and the last entry of the system journal; None where there is none."""

    first: dt.datetime | None
    last: dt.datetime | None
    quotes: tuple[Quote, ...]


def read_journald(evidence: Evidence, listing: Listing) -> Journald:
    """What the main file and the drop-ins of all four folders come to.

    Raises:
        EvidenceMissing: one of them exists and could not be read.
    """
    settings: dict[str, Setting] = {}
    for section in _files(evidence):
        _assign(section, settings)
    wanted = settings.get("Storage")
    storage = wanted.value if wanted is not None else "auto"
    quotes = tuple(setting.quote for setting in settings.values())
    if storage == "auto":
        storage = "persistent" if listing.is_directory("/var/log/journal") else "volatile"
        quotes += (_journal_folder(listing),)
    cap = settings.get("SystemMaxUse")
    return Journald(
        storage=storage,
        retention=_span(settings, "MaxRetentionSec", 0) / _DAY,
        file_span=_span(settings, "MaxFileSec", _MONTH) / _DAY,
        cap=cap.value if cap is not None else "",
        quotes=quotes,
    )


def _journal_folder(listing: Listing) -> Quote:
    folder = listing.files.get("/var/log/journal") or listing.files.get("/var/log")
    return folder.quote if folder is not None else Quote("logs.files")


def _files(evidence: Evidence) -> list[Section]:
    """The main file that counts, then the drop-ins in the order of their names."""
    main = next(
        (found for folder in _FOLDERS if (found := evidence.file(f"{folder}/journald.conf"))), None
    )
    dropins: dict[str, Section | None] = {}
    for folder in _FOLDERS:
        directory = f"{folder}/journald.conf.d"
        for section in evidence.directory(directory):
            dropins.setdefault(section.name.rpartition("/")[2], section)
        listed = evidence.sections[f"dir:{directory}"].text
        for masked in re.findall(r" (\S+\.conf) -> /dev/null$", listed, re.MULTILINE):
            dropins.setdefault(masked, None)
    ordered = [dropins[name] for name in sorted(dropins) if name.endswith(".conf")]
    return [section for section in (main, *ordered) if section is not None]


def _assign(section: Section, settings: dict[str, Setting]) -> None:
    """Take over the valid assignments of one file; journald passes over the others."""
    if section.gap is not None:
        raise EvidenceMissing(section.name, section.gap)
    group, number = "", 0
    lines = section.lines
    while number < len(lines):
        first = number + 1
        line = lines[number].strip()
        while line.endswith("\\") and not line.startswith(("#", ";")) and number + 1 < len(lines):
            number += 1
            line = f"{line[:-1]} {lines[number].strip()}"
        number += 1
        header = re.fullmatch(r"\[(.*)\]", line)
        if header is not None:
            group = header[1]
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if group == "Journal" and equals and not line.startswith(("#", ";")) and _fits(name, value):
            settings[name] = Setting(value, Quote(section.name, first, number))


def _fits(name: str, value: str) -> bool:
    if name == "Storage":
        return value in {"auto", "persistent", "volatile", "none"}
    if name in {"MaxRetentionSec", "MaxFileSec"}:
        return seconds(value) is not None
    if name == "SystemMaxUse":
        return re.fullmatch(r"\d+(\.\d+)?\s*[BKMGTPE]?", value) is not None
    return False


def _span(settings: dict[str, Setting], name: str, default: float) -> float:
    setting = settings.get(name)
    return default if setting is None else seconds(setting.value) or 0


def seconds(text: str) -> float | None:
    """A time span of systemd.time(7) in seconds; infinity is 0 (off); None if it is none."""
    if text == "infinity":
        return 0
    total = 0.0
    pieces = re.findall(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Zµ]*)", text)
    if not pieces or re.sub(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Zµ]*)", "", text).strip():
        return None
    for number, unit in pieces:
        if unit not in _UNITS:
            return None
        total += float(number[:20]) * _UNITS[unit]
    return total


def read_journal_span(evidence: Evidence) -> JournalSpan:
    """The times of the first and the last entry that journalctl told.

    Raises:
        EvidenceMissing: journalctl is not there, or may not read the system journal.
    """
    section = evidence["logs.journal"]
    found: dict[str, dt.datetime] = {}
    quotes: list[Quote] = []
    for number, line in enumerate(section.lines, 1):
        match = re.fullmatch(r"(first|last) (\d{1,18})", line)
        if match is not None:
            found[match[1]] = epoch(int(match[2]) / 1e6)
            quotes.append(Quote(section.name, number, number))
    return JournalSpan(found.get("first"), found.get("last"), tuple(quotes))
