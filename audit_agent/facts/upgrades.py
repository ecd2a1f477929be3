"""When packages were last upgraded. Installing another package is no upgrade."""

import datetime as dt
import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from audit_agent.facts.packages import Package, file_times
from audit_agent.facts.versions import debian_key, rpm_key
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section

_DAY = dt.timedelta(days=1)
_CORE = {
    "dpkg": {
        "base-files", "bash", "coreutils", "dpkg", "libc-bin", "libc6", "login", "passwd",
        "perl-base", "tar", "util-linux",
    },
    "rpm": {
        "bash", "coreutils", "filesystem", "glibc", "glibc-common", "openssl-libs", "rpm",
        "systemd", "systemd-libs", "util-linux",
    },
}  # fmt: skip
"""Packages of every installation: one that is younger than the installation replaced another."""


class LastUpgrade(Struct, frozen=True):
    """The newest upgrade happened between `earliest` (None: nothing says so) and `latest`.

    `basis` is how that is known: "log" (the two are equal), "files" (the dates of the packages'
    files or records), "silent-log" (a log that goes back to `latest` has none), or "installation"
    (nothing was ever upgraded, and both are when the system was installed). `packages` counts
    those upgraded on the last day, where a log tells.
    """

    earliest: dt.datetime | None
    latest: dt.datetime
    basis: str
    packages: int
    quotes: tuple[Quote, ...]


class _Entry(Struct, frozen=True):
    """An upgrade in a log."""

    at: dt.datetime
    quote: Quote


def read_last_upgrade(evidence: Evidence, packages: list[Package]) -> LastUpgrade:
    """When the packages were last upgraded, as far as logs and dates tell.

    Raises:
        EvidenceMissing: neither logs nor dates were readable.
    """
    manager = packages[0].manager
    if manager == "dpkg":
        return _dpkg(evidence)
    if manager == "rpm":
        return _rpm(evidence, packages)
    return _apk(evidence)


def host_zone(evidence: Evidence) -> dt.tzinfo | None:
    """The host's own UTC offset, in which its logs are written."""
    section = evidence.sections.get("host.clock")
    lines = section.lines if section is not None else []
    try:
        return dt.datetime.strptime(lines[1], "%z").tzinfo
    except (IndexError, ValueError):
        return evidence.collected_at.tzinfo


def _newest(entries: list[_Entry], basis: str = "log") -> LastUpgrade:
    at = max(entry.at for entry in entries)
    same_day = [entry for entry in entries if at - entry.at < _DAY]
    quotes = tuple(entry.quote for entry in same_day if entry.at == at)[-1:]
    return LastUpgrade(at, at, basis, len(same_day), quotes)


def _local(text: str, zone: dt.tzinfo | None) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
    except ValueError:
        return None


# --- dpkg.log(5)-style lines: date time upgrade package old new ---


def _dpkg(evidence: Evidence) -> LastUpgrade:
    section = evidence["patches.dpkg-log"]
    zone = host_zone(evidence)
    if _denied(section):
        raise EvidenceMissing(section.name, Gap.DENIED)
    if entries := list(_dpkg_entries(section, zone)):
        return _newest(entries)
    log = _DpkgLog(section, zone)
    if log.installed is not None:
        at, quote = log.installed
        return LastUpgrade(at, at, "installation", 0, (quote,))
    dated = _dpkg_files(evidence)
    if log.first is None or (dated is not None and dated.latest < log.first[0]):
        if dated is None:
            raise EvidenceMissing(section.name, Gap.ABSENT)
        return dated
    at, quote = log.first
    earliest = dated.earliest if dated is not None else None
    if earliest is not None and earliest > at:
        earliest = None  # the files contradict the log: believe neither
    return LastUpgrade(earliest, at, "silent-log", 0, (quote,))


def _denied(section: Section) -> bool:
    """Whether a log was there that could not be read: then the newest entry may be missing."""
    return any(line.startswith("denied\t") for line in section.lines)


def _dpkg_entries(section: Section, zone: dt.tzinfo | None) -> Iterator[_Entry]:
    """Upgrades, not downgrades or reinstallations, which dpkg calls by the same word."""
    for number, line in enumerate(section.lines, 1):
        words = line.split()
        if len(words) < 6 or words[2] != "upgrade":
            continue
        at = _local(f"{words[0]} {words[1]}", zone)
        if at is not None and debian_key(words[5]) > debian_key(words[4]):
            yield _Entry(at, Quote(section.name, number, number))


class _DpkgLog:
    """How far back the log goes: its first line, and whether that is the installation."""

    def __init__(self, section: Section, zone: dt.tzinfo | None) -> None:
        self.first: tuple[dt.datetime, Quote] | None = None
        self.installed: tuple[dt.datetime, Quote] | None = None
        for number, line in enumerate(section.lines, 1):
            quote = Quote(section.name, number, number)
            if line.startswith("first\t"):
                at = _local(line.removeprefix("first\t"), zone)
                if at is not None and (self.first is None or at < self.first[0]):
                    self.first = (at, quote)
            elif " install " in line:
                at = _local(line[:19], zone)
                if at is not None and (self.installed is None or at < self.installed[0]):
                    self.installed = (at, quote)


def _dpkg_files(evidence: Evidence) -> LastUpgrade | None:
    """/var/lib/dpkg/info/PACKAGE.list is written anew by every installation or upgrade.

    Copying a system may give all files one date, so that proves no installation.
    """
    section = evidence.sections.get("patches.dpkg-times")
    if section is None or section.gap is not None:
        return None
    times = {
        path.rpartition("/")[2].removesuffix(".list").partition(":")[0]: stamp
        for path, stamp in file_times(section).items()
    }
    dated = _from_dates(times, _CORE["dpkg"])
    if dated is not None and dated.basis == "installation":
        return msgspec.structs.replace(dated, earliest=None, basis="files")
    return dated


def _from_dates(times: dict[str, tuple[dt.datetime, Quote]], core: set[str]) -> LastUpgrade | None:
    """From when each package's present version arrived."""
    if not times:
        return None
    oldest = min(at for at, _ in times.values())
    latest, quote = max(times.values(), key=lambda stamp: stamp[0])
    if latest - oldest < _DAY:
        return LastUpgrade(latest, latest, "installation", 0, (quote,))
    younger = [stamp for name, stamp in times.items() if name in core and stamp[0] - oldest > _DAY]
    if not younger:
        return LastUpgrade(None, latest, "files", 0, (quote,))
    earliest, proof = max(younger, key=lambda stamp: stamp[0])
    return LastUpgrade(earliest, latest, "files", 0, (proof, quote))


# --- rpm: the logs of dnf, yum and zypper, else when each package was installed ---


def _rpm(evidence: Evidence, packages: list[Package]) -> LastUpgrade:
    log = evidence.sections.get("patches.rpm-log")
    entries: list[_Entry] = []
    if log is not None and not _denied(log):
        entries = list(_rpm_entries(log, packages, host_zone(evidence)))
    times: dict[str, tuple[dt.datetime, Quote]] = {}
    for package in packages:
        if package.installed_at is not None:
            stamp = (package.installed_at, package.quote)
            times[package.name] = max(stamp, times.get(package.name, stamp), key=lambda s: s[0])
    dated = _from_dates(times, _CORE["rpm"])
    if not entries:
        if dated is None:
            raise EvidenceMissing("packages.rpm", Gap.FAILED)
        return dated
    logged = _newest(entries)
    if dated is not None and dated.earliest is not None and dated.earliest > logged.latest + _DAY:
        return dated
    return logged


_DNF = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d{4})) \S+ Upgrade: \S")
_YUM = re.compile(r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} Updated: (\S+)$")
_ZYPP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) zypp (\S+) (\S+) (\S+)$")


def _rpm_entries(
    section: Section, packages: list[Package], zone: dt.tzinfo | None
) -> Iterator[_Entry]:
    by_nevra = {_yum_name(package): package.installed_at for package in packages}
    for number, line in enumerate(section.lines, 1):
        at: dt.datetime | None = None
        if found := _DNF.match(line):
            at = dt.datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S%z")
        elif found := _YUM.match(line):  # no year: rpm knows when that very package came
            at = by_nevra.get(found[1])
        elif (found := _ZYPP.match(line)) and rpm_key(found[4]) > rpm_key(found[3]):
            at = _local(found[1], zone)
        if at is not None:
            yield _Entry(at, Quote(section.name, number, number))


def _yum_name(package: Package) -> str:
    """As yum 3 writes it: epoch:name-version-release.arch."""
    epoch, colon, rest = package.version.partition(":")
    if not colon:
        epoch, rest = "", package.version
    prefix = f"{epoch}:" if epoch else ""
    return f"{prefix}{package.name}-{rest}.{package.architecture}"


def _apk(evidence: Evidence) -> LastUpgrade:
    """There is no log; apk's database is written by every change, of whatever kind."""
    section = evidence["patches.apk-times"]
    times = file_times(section)
    if not times:
        raise EvidenceMissing(section.name, Gap.FAILED)
    at, quote = max(times.values(), key=lambda stamp: stamp[0])
    return LastUpgrade(None, at, "files", 0, (quote,))
