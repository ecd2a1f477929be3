"""Which services run and which start at boot, as the init system tells."""

import re
from collections.abc import Mapping

from msgspec import Struct

from audit_agent.model import Evidence, EvidenceMissing, Quote, Section


class Unit(Struct, frozen=True):
    """One service by its bare name ("sshd"). `active` and `enabled` are None where not known.

    `quotes` are the lines that say so.
    """

    name: str
    active: bool | None
    enabled: bool | None
    quotes: tuple[Quote, ...]


class Units(Struct, frozen=True):
    """All services, by name. `system` is "systemd", "openrc", "sysv" or ""."""

    system: str
    services: Mapping[str, Unit]

    def find(self, *names: str) -> Unit | None:
        """The first of the named services that the host has, one that is active before others."""
        found = [self.services[name] for name in names if name in self.services]
        return next((unit for unit in found if unit.active), found[0] if found else None)


def read_units(evidence: Evidence) -> Units:
    """The services of the host.

    Raises:
        EvidenceMissing: neither the running ones nor those started at boot could be read.
    """
    files = evidence["host.unit-files"]
    try:
        running: Section | None = evidence["host.units"]
    except EvidenceMissing:
        running = None
    if re.search(r"\.(service|timer|socket)\s", files.text):
        system, enabled, active = "systemd", _systemd_files(files), _systemd_units(running)
    elif re.search(r"^\s*\S+ \|", files.text, re.MULTILINE):
        system, enabled, active = "openrc", _openrc_levels(files), _openrc_status(running)
    else:
        system, enabled, active = "sysv", _start_links(files), {}
    services: dict[str, Unit] = {}
    for name in enabled.keys() | active.keys():
        at_boot, running_now = enabled.get(name), active.get(name)
        services[name] = Unit(
            name=name,
            active=running_now[0] if running_now else (None if running is None else False),
            enabled=at_boot[0] if at_boot else False,
            quotes=tuple(each[1] for each in (at_boot, running_now) if each),
        )
    return Units(system, services)


_Known = dict[str, tuple[bool, Quote]]


def _systemd_files(section: Section) -> _Known:
    found: _Known = {}
    for number, line in enumerate(section.lines, 1):
        words = line.split()
        if len(words) >= 2 and words[0].endswith(".service"):
            enabled = words[1] in {"enabled", "enabled-runtime", "generated"}
            quote = Quote(section.name, number, number)
            found[words[0].removesuffix(".service")] = (enabled, quote)
    return found


def _systemd_units(section: Section | None) -> _Known:
    found: _Known = {}
    for number, line in enumerate(section.lines if section else [], 1):
        words = line.replace("●", " ").replace("*", " ").split()
        if len(words) >= 4 and words[0].endswith(".service"):
            quote = Quote(section.name if section else "", number, number)
            found[words[0].removesuffix(".service")] = (words[2] == "active", quote)
    return found


def _openrc_levels(section: Section) -> _Known:
    """`rc-update show`: "  sshd | default"."""
    found: _Known = {}
    for number, line in enumerate(section.lines, 1):
        name, bar, levels = line.partition("|")
        if bar:
            quote = Quote(section.name, number, number)
            found[name.strip()] = (
                bool(set(levels.split()) & {"boot", "default", "sysinit"}),
                quote,
            )
    return found


def _openrc_status(section: Section | None) -> _Known:
    """`rc-status --all`: " sshd  [ started 01:02 ]"."""
    found: _Known = {}
    for number, line in enumerate(section.lines if section else [], 1):
        if match := re.match(r"\s+(\S+)\s+\[\s*(\w+)", line):
            quote = Quote(section.name if section else "", number, number)
            found[match[1]] = (match[2] == "started", quote)
    return found


def _start_links(section: Section) -> _Known:
    """/etc/rc3.d/S20iptables."""
    found: _Known = {}
    for number, line in enumerate(section.lines, 1):
        if match := re.search(r"/rc[2-5]\.d/S\d\d(\S+)$", line):
            found.setdefault(match[1], (True, Quote(section.name, number, number)))
    return found
