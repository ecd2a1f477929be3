"""Pending security updates from apt's lists: the suites that the distribution calls security."""

import datetime as dt
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from msgspec import Struct

from audit_agent.facts.packages import Package
from audit_agent.facts.system import System
from audit_agent.facts.updates import Doubt, Row, SecurityUpdates, Source, Update
from audit_agent.facts.versions import debian_key
from audit_agent.model import Evidence, Quote

_ORIGINS = {"debian": ("Debian",), "ubuntu": ("Ubuntu", "UbuntuESM", "UbuntuESMApps")}
"""Who publishes a distribution's security suite (the Release file's Origin)."""


class _Suite(Struct):
    """A Release file's own words about its suite."""

    path: str
    fields: dict[str, str]
    first: int
    last: int = 0

    @property
    def name(self) -> str:
        return self.fields.get("Codename") or self.fields.get("Suite") or self.path

    def is_security_of(self, system: System) -> bool:
        """Whether the distribution itself publishes it, as this release's security suite."""
        words = " ".join(self.fields.get(key, "") for key in ("Label", "Suite", "Codename"))
        names = (self.fields.get("Suite", ""), self.fields.get("Codename", ""))
        codename = _codename(system)
        return (
            "security" in words.lower()
            and self.fields.get("Origin") in _ORIGINS.get(system.id, ())
            and bool(codename)
            and any(re.match(rf"{re.escape(codename)}(?:[-/]|$)", name) for name in names)
        )


def _codename(system: System) -> str:
    """The word in the brackets of VERSION: "12 (bookworm)", "22.04.3 LTS (Jammy Jellyfish)"."""
    found = re.search(r"\((\w+)", system.version)
    return found[1].lower() if found else ""


def _suites(evidence: Evidence) -> list[_Suite]:
    section = evidence["patches.apt-suites"]
    suites: dict[str, _Suite] = {}
    for number, line in enumerate(section.lines, 1):
        path, _, rest = line.partition(":")
        key, _, value = rest.partition(":")
        suite = suites.setdefault(path, _Suite(path, {}, number))
        suite.fields.setdefault(key, value.strip())
        suite.last = number
    return list(suites.values())


def read_apt_updates(
    evidence: Evidence, system: System, packages: list[Package]
) -> SecurityUpdates:
    """What the distribution's own security suites offer.

    Raises:
        EvidenceMissing: the lists could not be read.
    """
    section = evidence["patches.apt-security"]
    security = [suite for suite in _suites(evidence) if suite.is_security_of(system)]
    if not security:
        quotes = (Quote("patches.apt-suites"),)
        reason = "no-suite" if _suites(evidence) else "no-lists"
        return SecurityUpdates((), (), (Doubt(reason, system.pretty_name, quotes),))
    by_path = {suite.path: suite for suite in security}
    sources: list[Source] = []
    doubts: list[Doubt] = []
    for suite in security:
        quote = Quote("patches.apt-suites", suite.first, suite.last)
        try:
            dated = parsedate_to_datetime(suite.fields["Date"])
        except (KeyError, ValueError, OverflowError):
            doubts.append(Doubt("broken-list", suite.path, (quote,)))
            continue
        dated = dated if dated.tzinfo else dated.replace(tzinfo=dt.UTC)
        sources.append(Source(suite.name, dated, dated, quote))
    rows = [
        (line.split("\t"), Quote(section.name, number, number))
        for number, line in enumerate(section.lines, 1)
    ]
    doubts += _apt_doubts(rows, by_path, packages)
    pending = _apt_pending(rows, by_path, packages)
    return SecurityUpdates(tuple(pending), tuple(sources), tuple(doubts))


def _apt_doubts(
    rows: list[Row], suites: dict[str, _Suite], packages: list[Package]
) -> Iterator[Doubt]:
    """Every architecture that is installed needs its list of the main component, and a full one."""
    read: dict[str, set[str]] = {}
    for fields, quote in rows:
        if fields[0] == "failed" and fields[1] in suites:
            yield Doubt("broken-list", fields[2], (quote,))
        elif fields[0] == "list" and fields[1] in suites and fields[3:4] not in ([], ["0"], [""]):
            found = re.search(r"_main_binary-([a-z0-9-]+)_Packages", fields[2])
            if found:
                read.setdefault(fields[1], set()).add(found[1])
    used = {package.architecture for package in packages} - {"all"}
    base = [path for path in suites if suites[path].fields.get("Origin") in {"Debian", "Ubuntu"}]
    if not base:
        yield Doubt("no-suite", ", ".join(suites), (Quote("patches.apt-suites"),))
    for architecture in sorted(used):
        if base and not any(architecture in read.get(path, set()) for path in base):
            yield Doubt("no-list", architecture, (Quote("patches.apt-security"),))


def _apt_pending(
    rows: list[Row], suites: dict[str, _Suite], packages: list[Package]
) -> list[Update]:
    """The highest newer version of each package."""
    held = {(package.name, package.architecture): package.held for package in packages}
    newest: dict[tuple[str, str], Update] = {}
    for fields, quote in rows:
        if fields[0] != "offer" or len(fields) != 6 or fields[5] not in suites:
            continue
        _, name, architecture, installed, candidate, path = fields
        if debian_key(candidate) <= debian_key(installed):
            continue
        key = (name, architecture)
        if key in newest and debian_key(newest[key].candidate) >= debian_key(candidate):
            continue
        suite = suites[path].name
        newest[key] = Update(
            name, architecture, installed, candidate, suite, "", None, held.get(key, False), quote
        )
    return sorted(newest.values(), key=lambda update: (update.package, update.architecture))
