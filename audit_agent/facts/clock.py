"""What keeps the host's clock, and whether it says that it does."""

import datetime as dt
import re

from msgspec import Struct

from audit_agent.facts.packages import file_times
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section

_DAEMONS = {
    "chronyd": "chrony",
    "ntpd": "ntpd",
    "ntpd-rs": "ntpd-rs",
    "openntpd": "openntpd",
    "systemd-timesyn": "systemd-timesyncd",
    "systemd-timesyncd": "systemd-timesyncd",
    "ptp4l": "ptp4l",
    "phc2sys": "phc2sys",
    "timemaster": "timemaster",
    "htpdate": "htpdate",
}
"""The time services, by the name in /proc/PID/comm (at most 15 characters)."""


class ClockService(Struct, frozen=True):
    """One time service that runs.

    `synchronised` is None where it could not be asked; `source` names what it follows, `answer`
    is the decisive words it said. `since` is the last time it set the clock, where that is all
    that is known (systemd-timesyncd).
    """

    name: str
    synchronised: bool | None
    source: str
    answer: str
    since: dt.datetime | None
    quotes: tuple[Quote, ...]


class Clock(Struct, frozen=True):
    """The time services, and what else may set the clock.

    `kernel` is whether the kernel counts its clock as synchronised (adjtimex(2)), None where no
    program told. `agents` are a hypervisor's means, `jobs` the lines of crontabs that set the
    clock. `all_seen` is whether the lists of processes and of crontabs were whole. `now` is the
    host's own time, `uptime` how long it has been up.
    """

    services: tuple[ClockService, ...]
    kernel: bool | None
    agents: tuple[str, ...]
    jobs: tuple[str, ...]
    all_seen: bool
    now: dt.datetime
    uptime: dt.timedelta | None
    quotes: tuple[Quote, ...]


def read_clock(evidence: Evidence) -> Clock:
    """What keeps the clock.

    Raises:
        EvidenceMissing: nobody looked for time services.
    """
    processes = evidence["clock.processes"]
    names: dict[str, Quote] = {}
    agents: list[str] = []
    for number, line in enumerate(processes.lines, 1):
        pid, _, comm = line.partition(" ")
        if not pid.isdigit():
            continue
        quote = Quote(processes.name, number, number)
        if comm in _DAEMONS:
            names.setdefault(_DAEMONS[comm], quote)
        else:
            agents.append(comm)
    kernel, kernel_quotes = _kernel(evidence)
    jobs, jobs_seen, job_quotes = _jobs(evidence)
    offers, offer_quotes = _agents(evidence)
    return Clock(
        services=tuple(_service(evidence, name, names[name]) for name in names),
        kernel=kernel,
        agents=tuple(dict.fromkeys([*agents, *offers])),
        jobs=jobs,
        all_seen="all processes are visible" in processes.lines and jobs_seen,
        now=_now(evidence),
        uptime=_uptime(evidence),
        quotes=(Quote(processes.name), *kernel_quotes, *job_quotes, *offer_quotes),
    )


def _now(evidence: Evidence) -> dt.datetime:
    """The host's clock, by which its files are dated; else the audit's."""
    section = evidence.sections.get("host.clock")
    lines = section.lines if section is not None else []
    try:
        return dt.datetime.strptime(lines[0], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
    except (IndexError, ValueError):
        return evidence.collected_at


def _uptime(evidence: Evidence) -> dt.timedelta | None:
    section = evidence.sections.get("file:/proc/uptime")
    found = re.match(r"(\d{1,10})", section.text) if section is not None else None
    return dt.timedelta(seconds=int(found[1])) if found else None


def _service(evidence: Evidence, name: str, quote: Quote) -> ClockService:
    reader = {"chrony": _chrony, "ntpd": _ntp, "systemd-timesyncd": _timesync}.get(name)
    try:
        if reader is not None:
            return reader(evidence, quote)
    except EvidenceMissing as missing:
        answer = f"{missing.section}: {missing.detail.partition(chr(10))[0] or missing.gap}"
        return _from_timedatectl(evidence, name, answer, quote)
    return _from_timedatectl(evidence, name, "", quote)


def _chrony(evidence: Evidence, quote: Quote) -> ClockService:
    """`chronyc tracking` says whether, `chronyc sources` marks the source followed with "*"."""
    tracking = evidence["clock.chrony"]
    leap, number = _field(tracking, "Leap status")
    reference, reference_number = _field(tracking, "Reference ID")
    quotes = [quote, Quote(tracking.name, reference_number, reference_number)]
    quotes.append(Quote(tracking.name, number, number))
    source, reach = "", 0
    sources = evidence["clock.chrony-sources"]
    for at, line in enumerate(sources.lines, 1):
        # MS name stratum poll reach ...; the reach is octal, 0 is: none of the last 8 answered.
        words = line.split()
        if len(words) >= 5 and re.fullmatch(r"[\^=#]\*", words[0]):
            source = words[1]
            reach = int(words[4], 8) if re.fullmatch("[0-7]+", words[4]) else 0
            quotes.append(Quote(sources.name, at, at))
    if source:
        synchronised = leap == "Normal" and reach > 0
    else:
        synchronised = False
        quotes.append(Quote(sources.name))
    shown = source or reference
    return ClockService("chrony", synchronised, shown, f"Leap status: {leap}", None, tuple(quotes))


def _field(section: Section, name: str) -> tuple[str, int]:
    for number, line in enumerate(section.lines, 1):
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip(), number
    raise EvidenceMissing(section.name, Gap.FAILED, f"no {name} in it")


def _ntp(evidence: Evidence, quote: Quote) -> ClockService:
    """`ntpq -pn` marks the source followed with "*", or "o" where a pulse disciplines it.

    The local clock (127.127.1.x, or .LOCL.) is no source.
    """
    section = evidence["clock.ntp"]
    for number, line in enumerate(section.lines, 1):
        words = line[1:].split()
        if line[:1] in {"*", "o"} and len(words) >= 10:
            local = words[0].startswith("127.127.1.") or words[1] == ".LOCL."
            reached = re.fullmatch("[0-7]+", words[6]) is not None and int(words[6], 8) > 0
            quotes = (quote, Quote(section.name, number, number))
            return ClockService("ntpd", reached and not local, words[0], line.strip(), None, quotes)
    if not any("remote" in line for line in section.lines):
        raise EvidenceMissing(section.name, Gap.FAILED, "no table of sources")
    return ClockService("ntpd", False, "", "", None, (quote, Quote(section.name)))  # noqa: FBT003


def _timesync(evidence: Evidence, quote: Quote) -> ClockService:
    """The file `synchronized` is touched after every answer; the folder is there since 239."""
    section = evidence["clock.timesync"]
    times = file_times(section)
    stamp = times.get("/run/systemd/timesync/synchronized")
    if stamp is None and "/run/systemd/timesync" not in times:
        raise EvidenceMissing(section.name, Gap.FAILED, "an older systemd leaves no mark")
    quotes = (quote, stamp[1] if stamp else Quote(section.name))
    return ClockService(
        "systemd-timesyncd",
        None if stamp else False,
        "",
        "",
        stamp[0] if stamp else None,
        quotes,
    )


def _from_timedatectl(evidence: Evidence, name: str, answer: str, quote: Quote) -> ClockService:
    section = evidence.sections.get("clock.timedatectl")
    for number, line in enumerate(section.lines if section is not None else [], 1):
        found = re.search(r"NTPSynchronized=(yes|no)|synchronized: (yes|no)", line)
        if section is not None and found:
            said = found[1] or found[2]
            quotes = (quote, Quote(section.name, number, number))
            # "no" proves nothing: chrony need not tell the kernel (rtcsync).
            return ClockService(name, said == "yes" or None, "", line.strip(), None, quotes)
    return ClockService(name, None, "", answer, None, (quote,))


def _kernel(evidence: Evidence) -> tuple[bool | None, tuple[Quote, ...]]:
    section = evidence.sections.get("clock.kernel")
    for number, line in enumerate(section.lines if section is not None else [], 1):
        found = re.match(r"\s*status:\s+(\d{1,10})", line)
        if section is not None and found:
            return not int(found[1]) & 0x40, (Quote(section.name, number, number),)  # STA_UNSYNC
    return None, ()


def _jobs(evidence: Evidence) -> tuple[tuple[str, ...], bool, tuple[Quote, ...]]:
    section = evidence["clock.jobs"]
    jobs: list[str] = []
    quotes: list[Quote] = []
    for number, line in enumerate(section.lines, 1):
        path, _, text = line.partition(":")
        if path.startswith("/") and not text.lstrip().startswith("#"):
            jobs.append(line)
            quotes.append(Quote(section.name, number, number))
    return tuple(jobs), "all crontabs are visible" in section.lines, tuple(quotes)


def _agents(evidence: Evidence) -> tuple[tuple[str, ...], tuple[Quote, ...]]:
    """Hyper-V's driver, and what VMware's agent says of itself."""
    section = evidence["clock.agents"]
    if not any(line.strip() for line in section.lines):
        return (), ()
    return tuple(line.strip() for line in section.lines if line.strip()), (Quote(section.name),)
