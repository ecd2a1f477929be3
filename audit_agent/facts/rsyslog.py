"""rsyslog: into which files it writes the messages of which facilities."""

import re

from msgspec import Struct

from audit_agent.model import Evidence, EvidenceMissing, Quote, Section

_CLASSES = {"auth": "authpriv", "system": "daemon"}
"""The facility that stands for a class of logs: PAM, sudo and most sshd log to authpriv."""

_SELECTOR = re.compile(r"\s*((?:[\w,*]+\.[!=]*[\w*]+;?)+)\s+(\S.*)")
_FILE = re.compile(r'\bfile="(/[^"]+)"', re.IGNORECASE)


class Target(Struct, frozen=True):
    """A file that rsyslog writes to, and the classes of log that go into it.

    `kinds` is None where a script decides what goes there.
    """

    path: str
    kinds: frozenset[str] | None
    quote: Quote


def read_targets(evidence: Evidence) -> list[Target]:
    """The files that rsyslog.conf and the files of rsyslog.d name; none where there is no rsyslog.

    Raises:
        EvidenceMissing: one of them exists and could not be read.
    """
    main = evidence.file("/etc/rsyslog.conf")
    sections = [] if main is None else [main, *evidence.directory("/etc/rsyslog.d")]
    found: list[Target] = []
    for section in sections:
        if section.gap is not None:
            raise EvidenceMissing(section.name, section.gap)
        found += _targets(section)
    return found


def _targets(section: Section) -> list[Target]:
    found: list[Target] = []
    kinds: frozenset[str] | None = None
    for number, line in enumerate(section.lines, 1):
        if line.lstrip().startswith(("#", "$")):
            continue
        selector = _SELECTOR.match(line)
        action = line
        if selector is not None:
            kinds, action = selected(selector[1]), selector[2]
        elif not line.lstrip().startswith("&"):
            kinds = None
        legacy = re.match(r"\s*(?:&\s*)?-?(/[^\s;]+)", action)
        paths = ([legacy[1]] if legacy is not None else []) + _FILE.findall(action)
        found += [Target(path, kinds, Quote(section.name, number, number)) for path in paths]
    return found


def selected(text: str) -> frozenset[str]:
    """The classes that a selector takes messages of: of two parts for a facility the later wins."""
    taken: dict[str, bool] = {}
    for part in filter(None, text.split(";")):
        facilities, _, priority = part.rpartition(".")
        for name in facilities.split(","):
            for facility in _CLASSES.values() if name == "*" else (name,):
                taken[facility] = priority != "none"
    return frozenset(kind for kind, facility in _CLASSES.items() if taken.get(facility, False))
