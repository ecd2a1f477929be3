"""The services that write logs, and the job that rotates them: do they run, and will they again?"""

import datetime as dt
import re

from msgspec import Struct

from audit_agent.facts.logfiles import Listing
from audit_agent.model import Evidence, Gap, Quote, Section

_WRITERS = {
    "systemd-journald": "systemd-journald",
    "systemd-journal": "systemd-journald",  # the kernel shows 15 characters
    "rsyslog": "rsyslog",
    "rsyslogd": "rsyslog",
    "syslog-ng": "syslog-ng",
    "syslogd": "syslogd",
    "sysklogd": "syslogd",
    "busybox-syslogd": "syslogd",
    "inetutils-syslogd": "syslogd",
    "syslog": "syslogd",
    "metalog": "metalog",
}
_STATES = (
    "/var/lib/logrotate/status", "/var/lib/logrotate/logrotate.status",
    "/var/lib/logrotate.status", "/var/lib/misc/logrotate.status",
)  # fmt: skip
_SCRIPTS = (
    "/etc/cron.hourly/logrotate", "/etc/cron.daily/logrotate", "/etc/cron.weekly/logrotate",
    "/etc/periodic/daily/logrotate",
)  # fmt: skip
_CRONS = {"cron", "crond", "anacron", "busybox"}
_STARTS = {"enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "linked"}


class Writer(Struct, frozen=True):
    """One service that writes logs. `enabled` is None where nothing tells."""

    name: str
    running: bool
    enabled: bool | None
    quotes: tuple[Quote, ...]


class Job(Struct, frozen=True):
    """What runs logrotate.

    `scheduled` is False only where every place that could hold the job was seen to lack it.
    `last` is the time of its last run, as its state file tells.
    """

    scheduled: bool | None
    last: dt.datetime | None
    quotes: tuple[Quote, ...]


class LogServices(Struct, frozen=True):
    """The writers that the host has, running or not, and the job that rotates.

    `busybox` is whether syslogd is busybox's, which rotates by itself: 200 KB and one old file,
    unless told otherwise.
    """

    writers: tuple[Writer, ...]
    job: Job
    busybox: bool

    def running(self, name: str) -> bool:
        """Whether this writer runs."""
        return any(writer.running and writer.name == name for writer in self.writers)


def read_log_services(evidence: Evidence, listing: Listing) -> LogServices:
    """What systemd, OpenRC or else the list of processes says.

    Raises:
        EvidenceMissing: neither a service manager nor /proc could be asked.
    """
    processes = evidence["logs.processes"]
    units = evidence.sections.get("host.units")
    if units is not None and units.gap is None:
        writers = _managed(units, evidence.sections.get("host.unit-files"))
    else:
        writers = _seen(processes, evidence.sections.get("host.unit-files"))
    return LogServices(
        writers=writers,
        job=_job(evidence, listing, processes),
        busybox=re.search(r"^syslogd .*/busybox$", processes.text, re.MULTILINE) is not None,
    )


def _managed(units: Section, files: Section | None) -> tuple[Writer, ...]:
    """By systemd's lists of units, or OpenRC's of services."""
    found: dict[str, Writer] = {}
    for number, line in enumerate(units.lines, 1):
        unit = re.match(r"\W*([\w@.-]+)\.service\s+(\S+)\s+(\S+)\s+(\S+)", line)
        service = re.match(r"\s*([\w.-]+)\s+\[\s*(\w+)", line)
        if unit is not None:
            name, running = unit[1], unit[4] == "running"
        elif service is not None:
            name, running = service[1], service[2] == "started"
        else:
            continue
        if name in _WRITERS and not (found.get(_WRITERS[name]) and not running):
            enabled, quotes = _enabled(name, files)
            quotes = (Quote(units.name, number, number), *quotes)
            found[_WRITERS[name]] = Writer(_WRITERS[name], running, enabled, quotes)
    return tuple(found.values())


def _enabled(
    name: str, files: Section | None, kind: str = "service"
) -> tuple[bool | None, tuple[Quote, ...]]:
    if files is None or files.gap is not None:
        return None, ()
    for number, line in enumerate(files.lines, 1):
        quote = (Quote(files.name, number, number),)
        unit = re.match(rf"\s*{re.escape(name)}\.{kind}\s+(\S+)", line)
        if unit is not None:
            return unit[1] in _STARTS, quote
        runlevel = re.match(rf"\s*{re.escape(name)}\s*\|(.*)", line)
        if runlevel is not None:
            return bool(runlevel[1].strip()), quote
        if re.match(rf"/etc/.*/S\d+{re.escape(name)}$", line):
            return True, quote
    return None, ()


def _seen(processes: Section, files: Section | None) -> tuple[Writer, ...]:
    """By what runs, where no service manager could be asked."""
    found: dict[str, Writer] = {}
    for number, line in enumerate(processes.lines, 1):
        name = line.partition(" ")[0]
        if name in _WRITERS:
            enabled, quotes = _enabled(_WRITERS[name], files)
            quotes = (Quote(processes.name, number, number), *quotes)
            found.setdefault(_WRITERS[name], Writer(_WRITERS[name], True, enabled, quotes))  # noqa: FBT003 - it runs
    return tuple(found.values())


def _job(evidence: Evidence, listing: Listing, processes: Section) -> Job:
    scheduled, quotes = _schedule(evidence, listing, processes)
    last = None
    for path in _STATES:
        state = listing.files.get(path)
        if state is not None and state.mtime <= evidence.collected_at + dt.timedelta(days=1):
            last = state.mtime if last is None else max(last, state.mtime)
            quotes = (*quotes, state.quote)
    return Job(scheduled, last, quotes)


def _schedule(
    evidence: Evidence, listing: Listing, processes: Section
) -> tuple[bool | None, tuple[Quote, ...]]:
    """The timer, a line of a crontab, or the script in one of cron's folders, with a live cron."""
    program = evidence.sections.get("logs.logrotate.version")
    if program is not None and program.gap is Gap.NO_TOOL:
        return False, (Quote(program.name),)
    timer, quotes = _timer(evidence)
    if timer:
        return True, quotes
    cron = any(line.partition(" ")[0] in _CRONS for line in processes.lines)
    jobs = _jobs(evidence)
    if cron and jobs:
        return True, jobs
    files = [listing.files[path] for path in _SCRIPTS if path in listing.files]
    scripts = [file for file in files if file.mode & 0o111]
    if (
        cron and scripts and timer is None
    ):  # where there is a timer, Debian's script leaves it to it
        return True, tuple(script.quote for script in scripts)
    unclear = _blind(evidence) or (cron and bool(scripts))
    return (None if unclear else False), quotes + jobs


def _blind(evidence: Evidence) -> bool:
    """Whether some place that could hold the job was not seen."""
    units = evidence.sections.get("host.units")
    jobs = evidence.sections.get("logs.cron")
    managed = units is not None and units.gap in {None, Gap.NO_TOOL}
    return not managed or jobs is None or jobs.gap is not None or not evidence.privilege.root


def _jobs(evidence: Evidence) -> tuple[Quote, ...]:
    """The lines of crontabs that run logrotate."""
    section = evidence.sections.get("logs.cron")
    if section is None:
        return ()
    return tuple(
        Quote(section.name, number, number)
        for number, line in enumerate(section.lines, 1)
        if re.match(r"[^:]*:\s*[^#\s].*logrotate", line)
    )


def _timer(evidence: Evidence) -> tuple[bool | None, tuple[Quote, ...]]:
    """Whether logrotate.timer is set; None where there is no such unit."""
    units = evidence.sections.get("host.units")
    if units is None or units.gap is not None:
        return None, ()
    for number, line in enumerate(units.lines, 1):
        if re.match(r"\W*logrotate\.timer\s+loaded\s+active\s", line):
            return True, (Quote(units.name, number, number),)
    enabled, quotes = _enabled("logrotate", evidence.sections.get("host.unit-files"), "timer")
    return (None if enabled is None else False), quotes
