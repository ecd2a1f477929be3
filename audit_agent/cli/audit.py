"""The commands that read or judge hosts: run, collect, evaluate."""

import datetime as dt
import getpass
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from audit_agent import __version__, collector, engine, evidence, plugins
from audit_agent.cli import (
    EXIT_DAMAGED,
    EXIT_FINDINGS,
    EXIT_INCOMPLETE,
    Failure,
    emit,
)
from audit_agent.cli.language import translate as _
from audit_agent.cli.options import (
    Connection,
    Reporting,
    connection_options,
    reporting_options,
    require_writable,
    talk_options,
)
from audit_agent.cli.talk import Talk
from audit_agent.collect import collect as read_host
from audit_agent.engine import Check
from audit_agent.facts import Host
from audit_agent.model import (
    Evidence,
    EvidenceMissing,
    HostReport,
    Results,
    Status,
    Text,
    Unreachable,
)
from audit_agent.transport import HostUnreachable, Transport

_PROFILE = "default"
_PROFILE_TITLE = Text(
    en="All licences; protection level not declared",
    zh="全部许可类别；未申报等级保护级别",
)
_JUDGED = {Status.PASS, Status.WARN, Status.FAIL}


@click.command(help=_("Audit TARGET, by default this machine, and write a report."))
@click.argument("target", default="localhost", metavar="[[USER@]HOST[:PORT]]")
@connection_options
@reporting_options
@click.option(
    "--evidence",
    "evidence_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help=_("Where to keep the evidence file (default: beside the report)."),
)
@talk_options
def run(
    target: str,
    connection: Connection,
    reporting: Reporting,
    evidence_path: Path | None,
    talk: Talk,
) -> int:
    """Read a host, judge it, keep its evidence and write the report."""
    reporting.ready()
    if evidence_path is not None:
        require_writable(evidence_path)
        if reporting.output is not None and reporting.output.resolve() == evidence_path.resolve():
            raise Failure(_("--output and --evidence name the same file"))
    checks = reporting.select(plugins.checks())
    started = _now()
    found = _read(connection.transport(target), talk)
    talk.progress(_("judging {count} checks").format(count=len(checks)))
    kept = evidence_path or reporting.beside(_file_name(found, "evidence.zip"))
    digest = _keep(found, kept) if kept else evidence.digest(found)
    report = _judge(found, digest, checks)
    results = _results(started, [report], [])
    talk.host(report)
    path = reporting.write(results, _file_name(found, reporting.format))
    if kept:
        talk.say(_("Evidence: {path}").format(path=kept))
    _announce(path, talk)
    return _status(results, reporting, talk)


@click.command(
    help=_("Collect the evidence of TARGET, by default this machine, without judging it.")
)
@click.argument("target", default="localhost", metavar="[[USER@]HOST[:PORT]]")
@click.option(
    "--script",
    is_flag=True,
    help=_("Print the collector instead: a shell script to be carried to a host by hand."),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help=_("Where to write; - is standard output."),
)
@connection_options
@talk_options
def collect(
    target: str, script: bool, output: Path | None, connection: Connection, talk: Talk
) -> int:
    """Write a host's evidence file, or the script that makes its stream."""
    if script:
        _write_script(output)
        return 0
    require_writable(output)
    found = _read(connection.transport(target), talk)
    path = output or Path(_file_name(found, "evidence.zip"))
    if str(path) == "-":
        emit(evidence.pack(found)[0])
    else:
        if path.is_dir():
            path /= _file_name(found, "evidence.zip")
        _keep(found, path)
        _announce(path, talk)
    if found.complete:
        return 0
    talk.warn(_("The collection is incomplete: {why}").format(why=found.interrupted))
    return EXIT_INCOMPLETE


@click.command(
    help=_(
        "Judge evidence files, or streams that the collector script wrote, and write one report."
        " - is a stream on standard input."
    )
)
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="EVIDENCE...",
    type=click.Path(path_type=Path, allow_dash=True),
)
@reporting_options
@talk_options
def evaluate(paths: tuple[Path, ...], reporting: Reporting, talk: Talk) -> int:
    """Judge what was collected earlier."""
    reporting.ready()
    checks = reporting.select(plugins.checks())
    started = _now()
    hosts: list[HostReport] = []
    damaged: list[Unreachable] = []
    for path in paths:
        talk.progress(_("judging {path}").format(path=path))
        try:
            found = load_evidence(path)
            _require_past(found, started)
        except (evidence.EvidenceDamaged, evidence.StreamError) as error:
            damaged.append(Unreachable(path.name, "", "damaged", str(error)))
            talk.warn(f"audit-agent: {path}: {error}")
            continue
        hosts.append(_judge(found, evidence.digest(found), checks))
        talk.host(hosts[-1])
    if not hosts:
        return EXIT_DAMAGED
    results = _results(started, hosts, damaged)
    name = hosts[0].evidence if len(hosts) == 1 else None
    written = reporting.write(results, _file_name(name, reporting.format, started))
    _announce(written, talk)
    return EXIT_DAMAGED if damaged else _status(results, reporting, talk)


def _require_past(found: Evidence, now: dt.datetime) -> None:
    """A stream is dated by its host: where that clock runs ahead, every age in it is too great.

    Raises:
        StreamError: the stream is from the future.
    """
    if found.clock == "host" and found.collected_at > now + dt.timedelta(days=1):
        raise evidence.StreamError(
            f"the host's clock said {found.collected_at.isoformat()}, which has not come yet: set "
            "its clock (or this machine's) and collect again"
        )


def _now() -> dt.datetime:
    return dt.datetime.now().astimezone().replace(microsecond=0)


def _read(transport: Transport, talk: Talk) -> Evidence:
    talk.progress(_("reading {target} …").format(target=transport.target))
    try:
        found = read_host(transport)
    except HostUnreachable as error:
        talk.clear()
        raise Failure(str(error), error.advice, EXIT_INCOMPLETE) from error
    if talk.verbose:
        for section in found.sections.values():
            gap = f"  [{section.gap}]" if section.gap else ""
            talk.say(f"  {section.duration:6.2f} s {len(section.stdout):8d} B  {section.name}{gap}")
    return found


def load_evidence(path: Path) -> Evidence:
    """An evidence file, or a stream that was carried by hand; "-" is a stream on standard input.

    Raises:
        EvidenceDamaged: an evidence file is not as it was sealed.
        StreamError: neither an evidence file nor a collector's stream.
        Failure: the file cannot be read.
    """
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(evidence.STREAM_LIMIT + 1)
        else:
            with path.open("rb") as file:
                if file.read(4) == b"PK\x03\x04":
                    return evidence.load(path)
            data = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    stream = evidence.parse_stream(data)
    return evidence.from_stream(stream, target=_carried_name(stream, path))


def _carried_name(stream: evidence.Stream, path: Path) -> str:
    section = stream.sections.get("host.name")
    return evidence.printable(section.text.strip()) if section is not None else path.name


def _keep(found: Evidence, path: Path) -> str:
    try:
        return evidence.save(found, path)
    except OSError as error:
        raise Failure(
            _("cannot write {path}: {why}").format(path=path, why=error.strerror)
        ) from error


def _judge(found: Evidence, digest: str, checks: Sequence[Check]) -> HostReport:
    try:
        system = Host(found).system.pretty_name
    except EvidenceMissing:
        system = _("system unknown")
    return HostReport(
        evidence=found,
        evidence_sha256=digest,
        system=evidence.printable(system),
        findings=engine.audit(found, checks),
    )


def _results(
    started: dt.datetime, hosts: Sequence[HostReport], unreachable: Sequence[Unreachable]
) -> Results:
    return Results(
        tool_version=__version__,
        started_at=started,
        auditor=_auditor(),
        profile=_PROFILE,
        profile_title=_PROFILE_TITLE,
        hosts=tuple(hosts),
        unreachable=tuple(unreachable),
    )


def _auditor() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "?"
    return f"{user}@{socket.gethostname()}"


def _file_name(found: Evidence | None, suffix: str, when: dt.datetime | None = None) -> str:
    """HOST-DATE.suffix; what the host calls itself is not trusted with a path."""
    if found is not None:
        host = found.identity.hostname or found.target
        when = found.collected_at
    else:
        host, when = "hosts", when or _now()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", host).lstrip(".-")[:80] or "host"
    return f"{safe}-{when:%Y%m%dT%H%M%S}.{suffix}"


def _write_script(output: Path | None) -> None:
    script = collector.script()
    if output is None or str(output) == "-":
        emit(script)
        return
    try:
        evidence.write_atomically(output, script, mode=0o755)
    except OSError as error:
        raise Failure(
            _("cannot write {path}: {why}").format(path=output, why=error.strerror)
        ) from error


def _announce(path: Path | None, talk: Talk) -> None:
    """The path goes to standard output, for whoever wants to use it next."""
    talk.clear()
    if path is not None:
        said = _("Written: {path}") if sys.stdout is not None and sys.stdout.isatty() else "{path}"
        emit(said.format(path=path) + "\n")


def _status(results: Results, reporting: Reporting, talk: Talk) -> int:
    """The exit status: incomplete before findings, so that a gap is never taken for a verdict."""
    for host in results.hosts:
        if not any(finding.status in _JUDGED for finding in host.findings):
            talk.warn(
                _(
                    "audit-agent: nothing could be judged on {host}: this is not a clean result"
                ).format(host=host.evidence.target)
            )
            return EXIT_INCOMPLETE
    if results.unreachable or not all(host.evidence.complete for host in results.hosts):
        return EXIT_INCOMPLETE
    return EXIT_FINDINGS if reporting.reached(results) else 0
