"""LG: what writes the logs, how long they are meant to be kept, and how far back they reach."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.facts.auditd import Auditd
from audit_agent.facts.journald import Journald
from audit_agent.facts.log_services import Job, Writer
from audit_agent.facts.logfiles import File
from audit_agent.facts.logrotate import Rule, Settings
from audit_agent.facts.logs import CONTINUOUS, Log, LogFile
from audit_agent.facts.retention import FOREVER, Promise, months_before, promise
from audit_agent.facts.rsyslog import Target
from audit_agent.model import EvidenceMissing, Gap, Outcome, Quote, Status, Text

_NAMES: Mapping[str, Text] = {
    "auth": Text(en="login log", zh="登录/认证日志"),
    "system": Text(en="system log", zh="系统日志"),
    "audit": Text(en="audit log", zh="审计日志"),
    "sudo": Text(en="log of privileged operations", zh="特权操作日志"),
    "web": Text(en="web access log", zh="Web 访问日志"),
    "dns": Text(en="DNS query log", zh="域名解析日志"),
    "firewall": Text(en="firewall log", zh="防火墙日志"),
    "journal": Text(en="system journal", zh="systemd 日志"),
}
_EVERY_HOST = ("auth", "system")
_JOURNAL = "systemd-journald"
_LOG_GROUPS = {"root", "adm", "syslog", "systemd-journal", "log", "logs"}
_MOST_QUOTES = 12
_UNREAD = {"denied", "no-tool", "timeout"}
"""Why the records of a file are not known, though it may hold some."""


def _stores(host: Host, params: Params) -> tuple[list[Log], list[str]]:
    """The logs that are in use, and the classes that every host has and that none of them holds.

    A file that nothing was written to for a month is a leftover: the class lives elsewhere now.
    """
    idle = dt.timedelta(days=params.integer("idle_days"))
    used = [
        log
        for log in host.logs
        if log.kind not in _EVERY_HOST or host.collected_at - log.written <= idle
    ]
    kinds = {log.kind for log in used}
    for log in used:
        kinds |= _also_held(host, log)
    return used, [kind for kind in _EVERY_HOST if kind not in kinds]


def _also_held(host: Host, log: Log) -> set[str]:
    """The other classes that are written into the same file."""
    if log.kind == "system" and host.log_services.busybox:
        return set(_EVERY_HOST)
    return {
        kind for target in _targets(host) if target.path == log.path for kind in target.kinds or ()
    }


def _targets(host: Host) -> list[Target]:
    try:
        return host.rsyslog_targets
    except EvidenceMissing:
        return []


def _may_be_elsewhere(host: Host, kinds: list[str]) -> bool:
    """Whether a syslog service runs that may write these classes where nobody looked."""
    services = host.log_services
    if services.running("syslog-ng") or services.running("syslogd") or services.running("metalog"):
        return True
    if not services.running("rsyslog"):
        return False
    try:
        targets = host.rsyslog_targets
    except EvidenceMissing:
        return True
    return any(target.kinds is None or target.kinds & set(kinds) for target in targets)


def _names(kinds: Iterable[str]) -> Text:
    names = [_NAMES[kind] for kind in kinds]
    return Text(en=", ".join(name.en for name in names), zh="、".join(name.zh for name in names))


def _journal_in_use(host: Host) -> bool:
    if host.log_services.running(_JOURNAL):
        return True
    try:
        return host.journal_span.last is not None
    except EvidenceMissing as missing:
        if missing.gap is Gap.NO_TOOL:
            return False
        raise


def _whole(host: Host, *sections: str) -> tuple[Quote, ...]:
    """Sections that are the proof as a whole, because none of their lines says otherwise."""
    return tuple(Quote(name) for name in sections if name in host.evidence.sections)


def _unread(subject: str, missing: EvidenceMissing) -> Outcome:
    return Outcome(
        Status.UNKNOWN,
        "unread",
        subject,
        observed=f"{missing.section}: {missing.gap}",
        values={"section": missing.section.removeprefix("file:")},
        quotes=(Quote(missing.section),),
    )


def _closed(host: Host) -> Iterator[Outcome]:
    """The audit log lies in a folder that only root may enter."""
    path = "/var/log/audit/audit.log"
    if host.log_listing.hidden(path):
        yield Outcome(
            Status.UNKNOWN, "closed", path, values=_about("audit"), quotes=(Quote("logs.files"),)
        )


def _about(kind: str, **values: str | int | Text) -> dict[str, str | int | Text]:
    return {"log": _NAMES[kind], **values}


# LG-01


def log_service_runs(host: Host, params: Params) -> Iterator[Outcome]:
    """LG-01: something writes logs, will do so after the next start, and wrote within a day."""
    running = [writer for writer in host.log_services.writers if writer.running]
    if not running:
        yield _no_writer(host)
        return
    names = ", ".join(writer.name for writer in running)
    quotes = tuple(quote for writer in running for quote in writer.quotes)
    last, seen = _last_record(host)
    values: dict[str, str | int | Text] = {"names": names, "hours": params.integer("hours")}
    if last is None:
        denied = any(found.gap == "denied" for log in host.logs for found in log.files)
        values["section"] = "/var/log"
        yield Outcome(
            Status.UNKNOWN,
            "unread" if denied else "no_record",
            observed=names,
            values=values,
            quotes=quotes + seen,
        )
        return
    values["last"] = last.isoformat(timespec="seconds")
    fresh = host.collected_at - last <= dt.timedelta(hours=params.integer("hours"))
    status, message = (Status.PASS, "runs") if fresh else (Status.FAIL, "silent")
    if fresh and not any(_stays(writer) for writer in running):
        status, message = Status.WARN, "not_enabled"
    yield Outcome(
        status,
        message,
        observed=f"{names}; {values['last']}",
        values=values,
        quotes=quotes + seen,
    )


def _stays(writer: Writer) -> bool:
    return writer.enabled is not False


def _no_writer(host: Host) -> Outcome:
    container = host.confinement.container
    if container:
        return Outcome(
            Status.MANUAL,
            "container",
            observed=container,
            quotes=host.confinement.quotes + _whole(host, "logs.processes"),
        )
    stopped = host.log_services.writers
    return Outcome(
        Status.FAIL,
        "none",
        observed=", ".join(writer.name for writer in stopped),
        quotes=tuple(quote for writer in stopped for quote in writer.quotes)
        + _whole(host, "logs.processes", "host.units"),
    )


def _last_record(host: Host) -> tuple[dt.datetime | None, tuple[Quote, ...]]:
    """The newest record that the log service wrote: web servers write theirs without it."""
    found: list[tuple[dt.datetime, Quote]] = [
        (log.last.last.time, log.last.last.quote)
        for log in host.logs
        if log.kind in _EVERY_HOST and log.last is not None and log.last.last is not None
    ]
    try:
        span = host.journal_span
        if span.last is not None:
            found.append((span.last, span.quotes[-1]))
    except EvidenceMissing:
        pass
    if not found:
        return None, _whole(host, "logs.records", "logs.journal")
    time, quote = max(found, key=lambda pair: pair[0])
    return time, (quote,)


# LG-02


def retention_is_configured(host: Host, params: Params) -> Iterator[Outcome]:
    """LG-02: what logrotate, auditd and journald are told to keep, log by log."""
    used, lacking = _stores(host, params)
    for log in used:
        try:
            yield _unless_removed(host, log, _declared(host, params, log))
        except EvidenceMissing as missing:
            yield _unread(log.path, missing)
    yield from _closed(host)
    if lacking:
        try:
            yield _journal_declared(host, params, lacking)
        except EvidenceMissing as missing:
            yield _unread(_JOURNAL, missing)


def _unless_removed(host: Host, log: Log, outcome: Outcome) -> Outcome:
    """What a rule keeps, another job may delete."""
    jobs = [job for job in host.log_removers if job.reaches(log.path)]
    if outcome.status is not Status.PASS or not jobs:
        return outcome
    return Outcome(
        Status.WARN,
        "removed",
        log.path,
        observed="\n".join(job.text for job in jobs[:_MOST_QUOTES]),
        values=_about(log.kind, job=jobs[0].text),
        quotes=(*outcome.quotes, *(job.quote for job in jobs[:_MOST_QUOTES])),
    )


def _declared(host: Host, params: Params, log: Log) -> Outcome:
    rotation = host.logrotate
    rule = rotation.rule(log.path) if rotation is not None else None
    if rule is not None:
        return _by_rule(host, params, log, rule)
    if log.kind == "audit" and host.auditd is not None:
        return _by_auditd(log, host.auditd)
    for cost, status, message in (
        ({"unread"}, Status.UNKNOWN, "rules_unread"),
        ({"block", "file"}, Status.WARN, "rules_lost"),
    ):
        lost = [m for m in rotation.mistakes if m.cost in cost] if rotation is not None else []
        if lost:
            return Outcome(
                status,
                message,
                log.path,
                observed="; ".join(mistake.text for mistake in lost[:_MOST_QUOTES]),
                values=_about(log.kind),
                quotes=tuple(mistake.quote for mistake in lost[:_MOST_QUOTES]),
            )
    return _by_nothing(host, log)


def _by_nothing(host: Host, log: Log) -> Outcome:
    """No rule that was read covers the log."""
    busybox = host.log_services.busybox and log.kind in _EVERY_HOST
    message = "busybox" if busybox else "other_rotation" if log.rotated else "no_rule"
    return Outcome(
        Status.WARN,
        message,
        log.path,
        observed=", ".join(found.file.path for found in log.files[-3:]),
        values=_about(log.kind),
        quotes=_whole(host, "file:/etc/logrotate.conf") + _lines(log.files),
    )


def _by_rule(host: Host, params: Params, log: Log, rule: Rule) -> Outcome:
    settings = rule.settings
    kept = promise(settings)
    terms = _terms(settings)
    status, message = _verdict(kept, settings, params)
    if rule.doubtful:
        status, message = Status.WARN, "doubtful"
    elif any(
        rotated.file.path in pattern.files for pattern in rule.patterns for rotated in log.rotated
    ):
        status, message = Status.WARN, "rotates_rotated"
    elif obstacle := _obstacle(host, log, settings):
        return Outcome(
            Status.WARN,
            obstacle,
            log.path,
            observed=terms,
            values=_about(log.kind, rule=terms),
            quotes=(rule.quote, _directory_quote(host, log)),
        )
    elif idle := _job_fails(host, params):
        status, message = Status.WARN, idle
    return Outcome(
        status,
        message,
        log.path,
        observed=f"{terms} = {'?' if kept.least is None else kept.least} d",
        values=_about(
            log.kind,
            rule=terms,
            days=(kept.most or 0) if kept.least is None else kept.least,
            need=params.integer("days"),
            floor=params.integer("borderline_days"),
        ),
        quotes=_rule_quotes(rule, host.log_services.job if message in _OF_THE_JOB else None),
    )


_OF_THE_JOB = {"never_runs", "stopped_running"}


def _rule_quotes(rule: Rule, job: Job | None) -> tuple[Quote, ...]:
    """The block, and the lines elsewhere that decide."""
    deciding = ("criterion", "rotate", "maxage", "size", "minsize", "maxsize")
    quotes = [rule.quote]
    for name in deciding:
        quote = rule.settings.quotes.get(name)
        if quote is not None and not _within(quote, rule.quote):
            quotes.append(quote)
    return (*dict.fromkeys(quotes), *(job.quotes if job is not None else ()))


def _within(inner: Quote, outer: Quote) -> bool:
    return inner.section == outer.section and outer.first <= inner.first <= inner.last <= outer.last


def _terms(settings: Settings) -> str:
    """The directives that decide, as they would stand in the file."""
    frequency = settings.criterion
    words = [f"size {settings.size}" if frequency == "size" else frequency]
    words += [f"rotate {settings.rotate}"]
    words += [
        f"{name} {value}"
        for name, value in (
            ("maxage", settings.maxage),
            ("maxsize", settings.maxsize),
            ("minsize", settings.minsize),
        )
        if value
    ]
    return ", ".join(words)


def _verdict(kept: Promise, settings: Settings, params: Params) -> tuple[Status, str]:
    enough, floor = params.integer("days"), params.integer("borderline_days")
    if kept.least is None:
        if kept.most is not None and kept.most < floor:
            return Status.FAIL, "short"
        by_runs = settings.criterion == "hourly" and not settings.maxsize
        return Status.WARN, "by_runs" if by_runs else "by_size"
    if kept.least >= FOREVER:
        return Status.PASS, "never_removed"
    if kept.least >= enough:
        return Status.PASS, "enough"
    return (Status.WARN, "borderline") if kept.least >= floor else (Status.FAIL, "short")


def _obstacle(host: Host, log: Log, settings: Settings) -> str:
    """Why logrotate passes the log over, though it has a rule; "" where it does not."""
    listing = host.log_listing
    file = listing.files.get(log.path)
    if file is not None and file.links > 1 and not settings.allowhardlink:
        return "hard_links"
    directory = listing.files.get(log.path.rpartition("/")[0])
    if directory is None or settings.su:
        return ""
    open_to_group = directory.gid != 0 and directory.mode & 0o020
    return "open_directory" if open_to_group or directory.mode & 0o002 else ""


def _directory_quote(host: Host, log: Log) -> Quote:
    directory = host.log_listing.files.get(log.path.rpartition("/")[0])
    return directory.quote if directory is not None else Quote("logs.files")


def _job_fails(host: Host, params: Params) -> str:
    """Why the rules are not carried out; "" where they are, or where it cannot be told."""
    try:
        job = host.log_services.job
    except EvidenceMissing:
        return ""
    overdue = dt.timedelta(days=params.integer("overdue_days"))
    if job.last is not None:
        return "stopped_running" if host.collected_at - job.last > overdue else ""
    return "never_runs" if job.scheduled is False else ""


def _by_auditd(log: Log, auditd: Auditd) -> Outcome:
    """A number of files of a size: their time depends on what is written."""
    observed = f"max_log_file_action = {auditd.action}, num_logs = {auditd.files}"
    status, message = Status.WARN, "audit_rotates"
    if auditd.action == "keep_logs":
        status, message = Status.PASS, "audit_keeps"
        if auditd.cutting:
            status, message = Status.WARN, "audit_cuts"
    elif auditd.action == "suspend":
        message = "audit_suspends"
    elif auditd.action != "rotate" or auditd.files < 2:
        message = "audit_grows"
    return Outcome(
        status,
        message,
        log.path,
        observed=observed,
        values=_about(
            log.kind,
            files=auditd.files,
            megabytes=auditd.megabytes,
            cutting=", ".join(auditd.cutting),
        ),
        quotes=auditd.quotes,
    )


def _journal_declared(host: Host, params: Params, kinds: list[str]) -> Outcome:
    values: dict[str, str | int | Text] = {"logs": _names(kinds)}
    if _may_be_elsewhere(host, kinds) or not _journal_in_use(host):
        return _nowhere(host, values)
    journald = host.journald
    status, message = _journal_verdict(journald, params)
    return Outcome(
        status,
        message,
        _JOURNAL,
        observed=_journal_terms(journald),
        values=values
        | {
            "storage": journald.storage,
            "retention": round(journald.retention),
            "least": int(journald.least),
            "span": round(journald.file_span),
            "cap": journald.cap
            or Text(en="10 % of the disk, 4G at most", zh="磁盘的 10%，最多 4G"),
            "need": params.integer("days"),
        },
        quotes=journald.quotes,
    )


def _journal_terms(journald: Journald) -> str:
    words = [f"Storage={journald.storage}"]
    words += [f"MaxRetentionSec={round(journald.retention)}d"] if journald.retention else []
    words += [f"SystemMaxUse={journald.cap}"] if journald.cap else []
    return ", ".join(words)


def _journal_verdict(journald: Journald, params: Params) -> tuple[Status, str]:
    if journald.storage == "none":
        return Status.FAIL, "journal_none"
    if journald.storage == "volatile":
        return Status.FAIL, "journal_volatile"
    if 0 < journald.retention < params.integer("borderline_days"):
        return Status.FAIL, "journal_retention"
    if journald.retention and journald.least < params.integer("days"):
        return Status.WARN, "journal_files"
    return Status.WARN, "journal_capped"


def _nowhere(host: Host, values: Mapping[str, str | int | Text]) -> Outcome:
    """No file and no journal holds a class that every host has."""
    quotes = _whole(host, "logs.files", "logs.processes")
    quotes += tuple(target.quote for target in _targets(host)[:_MOST_QUOTES])
    writes = any(writer.running for writer in host.log_services.writers)
    if host.confinement.container and not writes:
        return Outcome(Status.MANUAL, "container", values=values, quotes=quotes)
    left = [log.path for log in host.logs if log.kind in _EVERY_HOST]
    unsure = bool(host.log_listing.closed) or bool(host.log_services.writers)
    return Outcome(
        Status.UNKNOWN if unsure else Status.FAIL,
        "elsewhere" if unsure else "nowhere",
        observed=", ".join(left),
        values=values,
        quotes=quotes,
    )


# LG-03


def oldest_record_is_six_months_old(host: Host, params: Params) -> Iterator[Outcome]:
    """LG-03: how far back each log really reaches, by the records in it."""
    _ = host.log_ends  # without a look into the logs nothing can be said
    used, lacking = _stores(host, params)
    for log in used:
        yield _observed(host, params, log)
    yield from _closed(host)
    if lacking:
        try:
            yield _journal_observed(host, params, lacking)
        except EvidenceMissing as missing:
            yield _unread(_JOURNAL, missing)


def _cutoff(host: Host, params: Params) -> dt.date:
    return months_before(host.collected_at.date(), params.integer("months"))


def _day(host: Host, time: dt.datetime) -> dt.date:
    """The day of a record, in the zone of the audit's own date."""
    return time.astimezone(host.collected_at.tzinfo).date()


def _observed(host: Host, params: Params, log: Log) -> Outcome:
    silence = dt.timedelta(days=params.integer("silence_days"))
    reach = log.reach(silence if log.kind in CONTINUOUS else None)
    cutoff = _cutoff(host, params)
    values = _about(log.kind, cutoff=cutoff.isoformat(), silence=params.integer("silence_days"))
    since = reach.since
    if since is None or since.first is None:
        unreadable = any(found.gap in _UNREAD for found in log.files)
        return Outcome(
            Status.UNKNOWN,
            "unreadable" if unreadable else "no_time",
            log.path,
            observed=", ".join(sorted({found.gap for found in log.files if found.gap})),
            values=values,
            quotes=_lines(log.files),
        )
    day = _day(host, since.first.time)
    values["since"] = day.isoformat()
    values["file"] = since.file.path
    quotes: tuple[Quote, ...] = since.quotes
    if day <= cutoff:
        status, message = Status.PASS, "reaches"
    elif (earlier := reach.earlier) and earlier.first and _day(host, earlier.first.time) <= cutoff:
        status, message = Status.WARN, "interrupted"
        values["earlier"] = _day(host, earlier.first.time).isoformat()
        quotes += earlier.quotes
    else:
        undated = since.first.yearless and not any(found.gap in _UNREAD for found in log.files)
        status, message, why = _too_young(
            host, cutoff, sure=reach.sure, undated=undated, deletes=_deletes(host, log)
        )
        quotes += why
    return Outcome(
        status,
        message,
        log.path,
        observed=f"{since.first.time.isoformat(timespec='seconds')} {since.file.path}",
        values=values,
        quotes=quotes,
    )


def _too_young(
    host: Host, cutoff: dt.date, *, sure: bool, undated: bool = False, deletes: bool
) -> tuple[Status, str, tuple[Quote, ...]]:
    """The record is younger than asked for: was there an older one?

    `undated` is a record of another year, perhaps: on a young host it cannot be.
    """
    unsure = Status.UNKNOWN, "unreadable", ()
    if not sure and not undated:
        return unsure
    try:
        age, container = host.host_age, host.confinement.container
    except EvidenceMissing:
        return (Status.UNKNOWN, "age_unknown", ()) if sure else unsure
    old = age.before(cutoff)
    if old is False:
        return Status.UNKNOWN, "young_host", age.quotes
    if not sure:
        return unsure
    if old is None or container:  # a container's files are as old as its image
        return Status.UNKNOWN, "age_unknown", age.quotes
    return (
        (Status.FAIL, "short", age.quotes) if deletes else (Status.UNKNOWN, "young_log", age.quotes)
    )


def _deletes(host: Host, log: Log) -> bool:
    """Whether older records were there: every host has this log, or the rotation has come round."""
    if log.kind in _EVERY_HOST:
        return True
    try:
        rule = host.logrotate.rule(log.path) if host.logrotate is not None else None
        if rule is not None:
            return 0 <= rule.settings.rotate <= len(log.rotated)
        auditd = host.auditd if log.kind == "audit" else None
    except EvidenceMissing:
        return False
    return auditd is not None and auditd.action == "rotate" and len(log.files) >= auditd.files > 1


def _journal_observed(host: Host, params: Params, kinds: list[str]) -> Outcome:
    cutoff = _cutoff(host, params)
    values: dict[str, str | int | Text] = {
        "log": _names(kinds),
        "logs": _names(kinds),
        "cutoff": cutoff.isoformat(),
        "file": _JOURNAL,
    }
    if not _journal_in_use(host):
        return _nowhere(host, values)
    span = host.journal_span
    if span.first is None:
        return Outcome(Status.UNKNOWN, "no_time", _JOURNAL, values=values, quotes=_journal_lines())
    first = span.first
    values["since"] = _day(host, first).isoformat()
    closed = _first_closed(host)
    quotes = span.quotes[:1]
    if _day(host, first) > cutoff:
        if _may_be_elsewhere(host, kinds):
            return _nowhere(host, values)
        status, message, why = _too_young(host, cutoff, sure=True, deletes=True)
        quotes += why
    elif closed is not None and closed.mtime - first > _longest_file(host):
        status, message = Status.UNKNOWN, "clock"
        quotes += (closed.quote,)
    else:
        status, message = Status.PASS, "reaches"
    return Outcome(
        status,
        message,
        _JOURNAL,
        observed=first.isoformat(timespec="seconds"),
        values=values,
        quotes=quotes,
    )


def _longest_file(host: Host) -> dt.timedelta:
    """More than one journal file can span: an entry from before was written by a wrong clock."""
    return dt.timedelta(days=2 * (host.journald.file_span or 365))


def _journal_lines() -> tuple[Quote, ...]:
    return (Quote("logs.journal"),)


def _first_closed(host: Host) -> File | None:
    """The journal file that was closed first: it holds the first entry."""
    return min(_journal_files(host), key=lambda file: file.mtime, default=None)


def _journal_files(host: Host) -> list[File]:
    return [
        file
        for file in host.log_listing.files.values()
        if file.path.startswith(("/var/log/journal/", "/run/log/journal/"))
        and file.path.endswith((".journal", ".journal~"))
    ]


# LG-08


def log_files_are_protected(host: Host, params: Params) -> Iterator[Outcome]:
    """LG-08: mode and group of every file of the logs, rotated ones included, and their folders."""
    logs = {log.path: [found.file for found in log.files] for log in host.logs}
    kinds = {log.path: log.kind for log in host.logs}
    journal = _journal_files(host)
    if journal:
        logs[_JOURNAL], kinds[_JOURNAL] = journal, "journal"
    groups = {gid: group.name for gid, group in host.groups.items()}
    for path, files in logs.items():
        yield _protected(host, params, path, files, _NAMES[kinds[path]], groups)
    yield from _closed(host)
    if not logs:
        yield Outcome(Status.UNKNOWN, "none", quotes=(Quote("logs.files"),))


def _protected(
    host: Host, params: Params, path: str, files: list[File], name: Text, groups: Mapping[int, str]
) -> Outcome:
    most = params.integer("mode")
    folders = {file.path.rpartition("/")[0] for file in files}
    looked = files + [host.log_listing.files[f] for f in folders if f in host.log_listing.files]
    open_to_all = [file for file in looked if file.mode & 0o002 and not file.mode & 0o1000]
    wide = [file for file in files if file.mode & 0o777 & ~most]
    foreign = [file for file in files if groups.get(file.gid, str(file.gid)) not in _LOG_GROUPS]
    status, message, found = next(
        (
            verdict
            for verdict in (
                (Status.FAIL, "world_writable", open_to_all),
                (Status.WARN, "wide", wide),
                (Status.WARN, "group", foreign),
            )
            if verdict[2]
        ),
        (Status.PASS, "protected", files),
    )
    modes = [
        f"{file.mode & 0o7777:04o} {groups.get(file.gid, file.gid)} {file.path}" for file in found
    ]
    return Outcome(
        status,
        message,
        path,
        observed="; ".join(modes[:_MOST_QUOTES]),
        values={
            "log": name,
            "count": len(found),
            "example": modes[0],
            "mode": f"{most:04o}",
        },
        quotes=tuple(file.quote for file in found[:_MOST_QUOTES]),
    )


def _lines(files: Iterable[LogFile]) -> tuple[Quote, ...]:
    return tuple(quote for found in list(files)[:_MOST_QUOTES] for quote in found.quotes)


CHECKS: Mapping[str, Evaluate] = {
    "LG-01": log_service_runs,
    "LG-02": retention_is_configured,
    "LG-03": oldest_record_is_six_months_old,
    "LG-08": log_files_are_protected,
}
