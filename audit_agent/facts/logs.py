"""The logs of the classes that are asked for: their files, and how far back they reach."""

import datetime as dt
import re
from collections.abc import Mapping

from msgspec import Struct, structs

from audit_agent.facts.auditd import Auditd
from audit_agent.facts.log_records import Ends, Moment, host_zone, moment
from audit_agent.facts.logfiles import File, Listing
from audit_agent.facts.logrotate import Logrotate
from audit_agent.model import Evidence, Quote

CLASSES: Mapping[str, str] = {
    "auth": r"/var/log/(auth\.log|secure|authlog)",
    "system": r"/var/log/(syslog|messages|everything(\.log|/current)?)",
    "audit": r"/var/log/audit/audit\.log",
    "sudo": r"/var/log/sudo(\.log)?",
    "web": r"/var/log/(nginx|httpd|apache2|openresty|tengine|lighttpd|caddy|haproxy|squid)"
    r"(/[^/]+)?/[^/]*access[^/]*"
    r"|/www/wwwlogs/(?!access_log$)(?!.*error)[^/]+\.log"
    r"|/usr/local/(nginx|openresty/nginx|tengine|apache2?)/logs/[^/]*access[^/]*",
    "dns": r"/var/log/((named|bind)/[^/]*quer[^/]*|(named|unbound|dnsmasq)\.log"
    r"|unbound/[^/]*\.log)",
    "firewall": r"/var/log/(ufw|iptables)\.log",
}
"""Which live file belongs to which class of log (regulation: the classes are ours)."""

CONTINUOUS = {"auth", "system", "audit", "web"}
"""Classes that a host in service writes all the time: a long silence in them is a gap."""

_COMPRESSED = re.compile(r"\.(gz|xz|zst|bz2|lz4|Z)$")
_ROTATED = re.compile(r"[-._]\d{1,14}(?:[-_.T]\d{2,12}){0,5}(?=(?P<ending>\.(?:log|txt))?$)")
_OVERLAP = dt.timedelta(days=2)
_STORES = {"old", "archive", "archives", "archived", "backup", "rotated", "oldlogs"}


class LogFile(Struct, frozen=True):
    """One file of a log, live or rotated, and what was read of it.

    `closed` is when its last record was written: the file's own time, unless that cannot be, as in
    a copy that carries the time of copying; then it is that of its first record. `gap` says why
    nothing was read of it.
    """

    file: File
    first: Moment | None
    last: Moment | None
    gap: str
    closed: dt.datetime

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """The line of the listing, and those of the records."""
        ends = tuple(end.quote for end in (self.first, self.last) if end is not None)
        return (*ends, self.file.quote)


class Reach(Struct, frozen=True):
    """How far back a log reaches without a silence longer than was asked for.

    `since` is its oldest record; `sure` is False where it may be older than that: an older file
    could not be read, or the year was guessed. `earlier` is a record from before the silence.
    """

    since: LogFile | None
    sure: bool
    earlier: LogFile | None


class Log(Struct, frozen=True):
    """One log: its class, the path it is written to, and its files from the oldest to the newest.

    `live` is False where only rotated files are left.
    """

    kind: str
    path: str
    live: bool
    files: tuple[LogFile, ...]

    @property
    def rotated(self) -> tuple[LogFile, ...]:
        """Its files without the one that is being written."""
        return tuple(log for log in self.files if log.file.path != self.path)

    @property
    def written(self) -> dt.datetime:
        """When anything was last written to it."""
        return max(log.file.mtime for log in self.files)

    @property
    def last(self) -> LogFile | None:
        """The file with the last record that was read."""
        ends = [log for log in self.files if log.last is not None]
        return max(
            ends, key=lambda log: log.last.time if log.last else log.file.mtime, default=None
        )

    def reach(self, silence: dt.timedelta | None) -> Reach:
        """Walk back from the newest file as long as the next older one joins it."""
        filled = [log for log in self.files if log.file.size]
        first = len(filled)
        begins: dt.datetime | None = None
        while first and (
            begins is None or not silence or begins - filled[first - 1].closed <= silence
        ):
            first -= 1
            begins = _start(filled[first])
        since = _oldest(filled[first:])
        earlier = _oldest(filled[:first])
        unread = any(log.gap and (since is None or log.closed <= _start(since)) for log in filled)
        return Reach(since, not unread and self._dated(since), earlier)

    def _dated(self, since: LogFile | None) -> bool:
        """A file that was never rotated may be years old, though its stamps name no year."""
        return (
            since is not None
            and since.first is not None
            and not (since.first.yearless and not self.rotated)
        )


def _start(log: LogFile) -> dt.datetime:
    return log.first.time if log.first is not None else log.closed


def _oldest(files: list[LogFile]) -> LogFile | None:
    return min((log for log in files if log.first is not None), key=_start, default=None)


def read_logs(
    evidence: Evidence,
    listing: Listing,
    ends: Mapping[str, Ends],
    rotation: Logrotate | None,
    auditd: Auditd | None,
) -> list[Log]:
    """Every log of a class, by path. What lies in an olddir of logrotate's goes with its log."""
    audit_log = auditd.log_file if auditd is not None else ""
    zone = host_zone(evidence)
    homes = _homes(rotation)
    found: dict[str, list[LogFile]] = {}
    for file in listing.files.values():
        if file.kind == "-":
            base = base_path(file.path, listing, homes)
            if kind_of(base, audit_log):
                found.setdefault(base, []).append(_log_file(file, ends, zone, evidence))
    return [
        Log(
            kind=kind_of(path, audit_log),
            path=path,
            live=path in listing.files,
            files=_in_order(path, files),
        )
        for path, files in sorted(found.items())
    ]


def kind_of(path: str, audit_log: str = "") -> str:
    """The class that a live log belongs to, or ""."""
    if path == audit_log:
        return "audit"
    for kind, pattern in CLASSES.items():
        if re.fullmatch(pattern, path):
            return kind
    return ""


def base_path(path: str, listing: Listing, homes: Mapping[str, str]) -> str:
    """The log that a file was rotated out of; a live log is its own."""
    directory, _, name = path.rpartition("/")
    plain = _COMPRESSED.sub("", name)
    base = _ROTATED.sub("", plain)
    mark = _ROTATED.search(plain)
    if mark is None:
        return path
    # "10.0.0.7.log" is the log of an address, not the seventh of its kind.
    if mark["ending"] and len(mark[0]) < 7 and f"{directory}/{base}" not in listing.files:
        return path
    home = homes.get(directory)
    parent, _, last = directory.rpartition("/")
    if home is None and last in _STORES and f"{parent}/{base}" in listing.files:
        home = parent
    return f"{home or directory}/{base}"


def _homes(rotation: Logrotate | None) -> dict[str, str]:
    """The directory of the logs that are rotated into each absolute or relative olddir."""
    homes: dict[str, str] = {}
    for rule in rotation.rules if rotation is not None else ():
        if rule.settings.olddir:
            for path in (path for pattern in rule.patterns for path in pattern.files):
                directory = path.rpartition("/")[0]
                olddir = rule.settings.olddir.rstrip("/")
                homes[olddir if olddir.startswith("/") else f"{directory}/{olddir}"] = directory
    return homes


def _log_file(file: File, ends: Mapping[str, Ends], zone: dt.tzinfo, evidence: Evidence) -> LogFile:
    known = ends.get(file.path)
    if known is None:
        return LogFile(file, None, None, "", file.mtime)
    first = _credible(moment(known.first, file.mtime, zone), evidence)
    last = None if known.last is None else _credible(moment(known.last, file.mtime, zone), evidence)
    gap = known.first.gap or ("" if first is not None else "none")
    return LogFile(file, first, last, gap, file.mtime)


def _credible(found: Moment | None, evidence: Evidence) -> Moment | None:
    """A record from the future tells nothing."""
    late = evidence.collected_at + dt.timedelta(days=1)
    return found if found is not None and found.time <= late else None


def _in_order(path: str, files: list[LogFile]) -> tuple[LogFile, ...]:
    """From the oldest to the newest.

    Files of one log are closed one after the other: if another one was closed after this one began
    and before this one's own time, then this one's own time is not when it was closed. Nor was it
    closed before it began.
    """
    placed: list[LogFile] = []
    before: dt.datetime | None = None
    for log in sorted(files, key=lambda log: (log.file.mtime, log.file.path)):
        begun, closed = _start(log), max(_start(log), log.file.mtime)
        if before is not None and log.file.path != path and before - begun > _OVERLAP:
            closed = begun
        before = log.file.mtime
        placed.append(structs.replace(log, closed=closed))
    return tuple(sorted(placed, key=lambda log: (log.closed, log.file.path)))
