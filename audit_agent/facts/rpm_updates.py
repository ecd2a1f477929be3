"""Pending security updates from the advisories (updateinfo.xml) of dnf, yum and zypper."""

import configparser
import datetime as dt
import re
from collections.abc import Iterator

from msgspec import Struct

from audit_agent.facts.packages import Package, epoch_time
from audit_agent.facts.system import System
from audit_agent.facts.updates import Doubt, Row, SecurityUpdates, Source, Update
from audit_agent.facts.versions import rpm_evr, rpm_key
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote

_ADVISORIES = {
    "almalinux": ("ALSA-",),
    "alinux": ("ALINUX",),
    "amzn": ("ALAS",),
    "anolis": ("ANSA-",),
    "fedora": ("FEDORA-",),
    "ol": ("ELSA-",),
    "openeuler": ("openEuler-SA-", "OESA-", "openEuler-HotPatchSA-"),
    "opensuse-leap": ("openSUSE-", "SUSE-"),
    "rhel": ("RHSA-",),
    "rocky": ("RLSA-",),
    "sles": ("SUSE-",),
    "sles_sap": ("SUSE-",),
}
"""How a distribution numbers its own advisories; those of an add-on repository do not cover it."""


class _Repository(Struct):
    """One repository's metadata on the host."""

    ident: str
    folder: str
    source: Source
    advisories: bool


def read_rpm_updates(
    evidence: Evidence, system: System, packages: list[Package]
) -> SecurityUpdates:
    """What the advisories of the enabled repositories offer.

    Raises:
        EvidenceMissing: the metadata or the repositories' configuration could not be read.
    """
    section = evidence["patches.rpm-security"]
    enabled = _enabled(evidence)
    cached = _cached(evidence, enabled)
    folders = {repository.folder for repository in cached}
    rows = [
        (line.split("\t"), Quote(section.name, number, number))
        for number, line in enumerate(section.lines, 1)
    ]
    doubts = [
        Doubt("no-metadata", ident, (quote,))
        for ident, quote in sorted(enabled.items())
        if ident not in {repository.ident for repository in cached}
    ]
    doubts += [
        Doubt("broken-list", fields[2], (quote,))
        for fields, quote in rows
        if fields[0] == "failed" and fields[1] in folders
    ]
    prefixes = _ADVISORIES.get(system.id, ())
    own = {
        fields[1]
        for fields, _ in rows
        if fields[0] == "count" and fields[1] in folders and fields[3].startswith(prefixes or "\0")
    }
    if not own:
        quotes = (Quote("patches.rpm-repos"), Quote(section.name))
        doubts.append(Doubt("no-advisories", system.pretty_name, quotes))
    pending = _rpm_pending(rows, folders, packages, _streams(evidence))
    sources = tuple(
        repository.source for repository in cached if not own or repository.folder in own
    )
    return SecurityUpdates(tuple(pending), sources, tuple(doubts))


def _enabled(evidence: Evidence) -> dict[str, Quote]:
    """The enabled repositories of dnf, yum and zypper, by id.

    Raises:
        EvidenceMissing: the configuration could not be read.
    """
    enabled: dict[str, Quote] = {}
    folders = ["/etc/yum.repos.d"]
    if "dir:/etc/zypp/repos.d" in evidence.sections:
        folders.append("/etc/zypp/repos.d")
    for folder in folders:
        for section in evidence.directory(folder):
            if not section.name.endswith(".repo"):
                continue
            if section.gap is not None:
                raise EvidenceMissing(section.name, section.gap)
            for ident, number in _repo_ids(section.lines):
                enabled[ident] = Quote(section.name, number, number)
    return enabled


def _repo_ids(lines: list[str]) -> Iterator[tuple[str, int]]:
    ident, number, on = "", 0, True
    for at, line in enumerate([*lines, "[end]"], 1):
        text = line.strip()
        if text.startswith("[") and "]" in text:
            if ident and on:
                yield ident, number
            ident, number, on = text[1 : text.index("]")], at, True
            if ident == "main":
                ident = ""
        elif re.match(r"enabled\s*=", text):
            on = text.partition("=")[2].strip().lower() in {"1", "yes", "true", "on"}


def _cached(evidence: Evidence, enabled: dict[str, Quote]) -> list[_Repository]:
    """The metadata of each enabled repository; of several copies the one last asked for."""
    section = evidence["patches.rpm-repos"]
    newest: dict[str, _Repository] = {}
    for number, line in enumerate(section.lines, 1):
        fields = line.split("\t")
        checked = epoch_time(fields[1]) if len(fields) == 5 else None
        if checked is None:
            continue
        folder, _, revision, stamp, updateinfo = fields
        ident = _repo_of(folder)
        if ident not in enabled:
            continue
        changed = epoch_time(stamp) if stamp != "0" else epoch_time(revision)
        quote = Quote(section.name, number, number)
        source = Source(ident, checked, changed or checked, quote)
        if ident not in newest or newest[ident].source.checked < checked:
            newest[ident] = _Repository(ident, folder, source, bool(updateinfo))
    return [newest[ident] for ident in sorted(newest)]


def _repo_of(folder: str) -> str:
    """The id in /var/cache/dnf/ID-HASH/repodata, zypp/raw/ID/repodata, yum/ARCH/RELEASE/ID."""
    name = folder.removesuffix("/repodata").rpartition("/")[2]
    return re.sub(r"-[0-9a-f]{16}$", "", name) if "/yum/" not in folder else name


def _streams(evidence: Evidence) -> set[str]:
    """The enabled module streams ("nodejs:18") of /etc/dnf/modules.d."""
    streams: set[str] = set()
    try:
        sections = evidence.directory("/etc/dnf/modules.d")
    except EvidenceMissing as missing:
        if missing.gap is Gap.NOT_COLLECTED:
            return streams
        raise
    for section in sections:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        try:
            parser.read_string(section.text)
        except configparser.Error as error:
            raise EvidenceMissing(section.name, Gap.FAILED, str(error)) from error
        for name in parser.sections():
            if parser.get(name, "state", fallback="") == "enabled":
                streams.add(f"{name}:{parser.get(name, 'stream', fallback='')}")
    return streams


def _rpm_pending(
    rows: list[Row], folders: set[str], packages: list[Package], streams: set[str]
) -> list[Update]:
    """Advisories with a newer version than the newest installed (kernels lie side by side)."""
    newest: dict[tuple[str, str], str] = {}
    for package in packages:
        key = (package.name, package.architecture)
        if key not in newest or rpm_key(newest[key]) < rpm_key(package.version):
            newest[key] = package.version
    modular = {name for name, _ in newest if any(s.partition(":")[0] == name for s in streams)}
    updates: dict[tuple[str, str, str], Update] = {}
    for fields, quote in rows:
        if fields[0] != "offer" or len(fields) != 11 or fields[1] not in folders:
            continue
        _, _, advisory, severity, issued, name, epoch, version, release, arch, module = fields
        if (module and module not in streams) or (not module and name in modular):
            continue
        candidate = rpm_evr(epoch, version, release)
        for key in {(name, arch), (name, "noarch")} & newest.keys():
            if rpm_key(candidate) > rpm_key(newest[key]):
                updates[advisory, name, key[1]] = Update(
                    name,
                    key[1],
                    newest[key],
                    candidate,
                    advisory,
                    severity.strip().lower(),
                    _date(issued),
                    held=False,
                    quote=quote,
                )
    return [updates[key] for key in sorted(updates)]


def _date(text: str) -> dt.date | None:
    """The issued date of an advisory: "2026-03-01 00:00:00", or seconds since 1970."""
    if found := re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            return dt.date.fromisoformat(found[0])
        except ValueError:
            return None
    time = epoch_time(text.strip())
    return time.date() if time is not None else None
