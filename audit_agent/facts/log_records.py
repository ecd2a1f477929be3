"""The time stamps of log files' first and last lines: all that is collected of their text."""

import datetime as dt
import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from audit_agent.facts.logfiles import epoch
from audit_agent.model import Evidence, Quote

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_SLACK = dt.timedelta(days=1)
_FIRST_CREDIBLE = 2000  # a clock that was not set yet begins in 1970


class Moment(Struct, frozen=True):
    """When a record was written.

    The stamps of RFC 3164 name no year: `time` is then the latest that the file's own time allows,
    and `yearless` is set.
    """

    time: dt.datetime
    yearless: bool
    quote: Quote


class Stamp(Struct, frozen=True):
    """A time stamp as it stood in the log, or a word that says why there is none.

    `gap` is "", "denied", "no-tool", "timeout", or "none" where no line had a time stamp.
    """

    text: str
    gap: str
    quote: Quote


class Ends(Struct, frozen=True):
    """What was read of one file: of its first line, and for the newest file of a log its last."""

    first: Stamp
    last: Stamp | None


def read_ends(evidence: Evidence) -> dict[str, Ends]:
    """What was read of each file, by path.

    Raises:
        EvidenceMissing: no log file was looked into.
    """
    section = evidence["logs.records"]
    ends: dict[str, Ends] = {}
    for number, line in enumerate(section.lines, 1):
        word, _, rest = line.partition("\t")
        text, _, path = rest.partition("\t")
        quote = Quote(section.name, number, number)
        if word in {"denied", "no-tool", "timeout"}:
            ends[path] = Ends(Stamp("", word, quote), None)
        elif word in {"first", "last"} and path:
            stamp = Stamp(text, "none", quote) if text == "-" else Stamp(text, "", quote)
            known = ends.get(path)
            if word == "first" or known is None:
                ends[path] = Ends(stamp, None)
            else:
                ends[path] = Ends(known.first, stamp)
    return ends


def host_zone(evidence: Evidence) -> dt.tzinfo:
    """The host's offset from UTC, in which its logs are written where they name none."""
    section = evidence.sections.get("host.clock")
    match = re.search(r"^([+-])(\d\d)(\d\d)$", section.text if section else "", re.MULTILINE)
    if match is None:
        return evidence.collected_at.tzinfo or dt.UTC
    minutes = int(match[2]) * 60 + int(match[3])
    return dt.timezone(dt.timedelta(minutes=-minutes if match[1] == "-" else minutes))


def moment(stamp: Stamp, written: dt.datetime, zone: dt.tzinfo) -> Moment | None:
    """The time that a stamp names, in a file last written at `written`; None if it is none.

    Raises nothing: a stamp comes from the host, and is not to be trusted.
    """
    for pattern, read in _FORMATS.items():
        match = re.fullmatch(pattern, stamp.text)
        if match is None:
            continue
        try:
            time = read(match, written, zone)
        except (ValueError, OverflowError, KeyError):
            return None
        if time is None or time.year < _FIRST_CREDIBLE:
            return None
        return Moment(time, read is _rfc3164, stamp.quote)
    return None


def _rfc3164(match: re.Match[str], written: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
    """The latest year in which it was not later than the file's last change."""
    local = written.astimezone(zone)
    for year in range(local.year + 1, local.year - 9, -1):
        try:
            time = dt.datetime.strptime(f"{year} {match[0]}", "%Y %b %d %H:%M:%S")
        except ValueError:  # 29 February
            continue
        if time.replace(tzinfo=zone) <= local + _SLACK:
            return time.replace(tzinfo=zone)
    return None


def _iso(match: re.Match[str], written: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    del written
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    offset = match[7]
    if offset == "Z":
        zone = dt.UTC
    elif offset:
        zone = _offset(offset)
    return dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)


def _offset(text: str) -> dt.tzinfo:
    digits = text.strip().replace(":", "")
    minutes = int(digits[1:3]) * 60 + int(digits[3:5])
    return dt.timezone(dt.timedelta(minutes=-minutes if digits[0] == "-" else minutes))


def _access(match: re.Match[str], written: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    del written, zone
    day, month, year, hour, minute, second, offset = match.groups()
    return dt.datetime(
        int(year),
        _MONTHS[month],
        int(day),
        int(hour),
        int(minute),
        min(int(second), 59),
        tzinfo=_offset(offset),
    )


def _error(match: re.Match[str], written: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    del written
    month, day, hour, minute, second, year = match.groups()
    return dt.datetime(
        int(year),
        _MONTHS[month],
        int(day),
        int(hour),
        int(minute),
        min(int(second), 59),
        tzinfo=zone,
    )


def _epoch(match: re.Match[str], written: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    del written, zone
    return epoch(float(match[1]))


_CLOCK = r"(\d\d):(\d\d):(\d\d)"
_FORMATS: Mapping[str, Callable[[re.Match[str], dt.datetime, dt.tzinfo], dt.datetime | None]] = {
    r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d": _rfc3164,
    rf"\[?(\d{{4}})[-/](\d\d)[-/](\d\d)[T ]{_CLOCK}(?:[.,]\d+)?(Z| ?[-+]\d\d:?\d\d)?": _iso,
    rf"\[(\d\d)/([A-Z][a-z]{{2}})/(\d{{4}}):{_CLOCK} ([-+]\d{{4}})\]": _access,
    rf"\[[A-Z][a-z]{{2}} ([A-Z][a-z]{{2}}) ([ \d]\d) {_CLOCK}(?:\.\d+)? (\d{{4}})\]": _error,
    r"audit\((\d{1,11}(?:\.\d{1,6})?)": _epoch,
    r"(\d{10}(?:\.\d{1,6})?)": _epoch,
}
