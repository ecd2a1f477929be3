"""How long this host has been in service, as far as the files of its installation tell."""

import datetime as dt
import re

from msgspec import Struct

from audit_agent.facts.logfiles import epoch
from audit_agent.model import Evidence, Quote

_FIRST_BOOT = {
    "/etc/machine-id", "/etc/ssh/ssh_host_rsa_key.pub", "/etc/ssh/ssh_host_ed25519_key.pub",
    "/var/log/installer", "/root/anaconda-ks.cfg",
}  # fmt: skip
_CREDIBLE = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class Mark(Struct, frozen=True):
    """A file that was made when the host was installed or first started, and when that was."""

    path: str
    made: dt.datetime
    quote: Quote


class HostAge(Struct, frozen=True):
    """The marks of the host's birth. One image or one renewed key can make any of them lie."""

    marks: tuple[Mark, ...]

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """The lines of all marks."""
        return tuple(mark.quote for mark in self.marks)

    def before(self, day: dt.date) -> bool | None:
        """Whether the host was in service on `day`; None where its marks are too few or disagree.

        Clones carry old files, and keys can be renewed: only marks that all say the same count.
        """
        said = {mark.made.date() <= day for mark in self.marks}
        return said.pop() if len(said) == 1 and len(self.marks) > 1 else None


def read_host_age(evidence: Evidence) -> HostAge:
    """The times of the files that the first boot makes.

    Raises:
        EvidenceMissing: nobody looked.
    """
    section = evidence["host.birth"]
    marks: list[Mark] = []
    for number, line in enumerate(section.lines, 1):
        match = re.fullmatch(r"(/.*) (\S+) (\d{1,12})", line)
        if match is None:
            continue
        path, birth, mtime = match.groups()
        # What was changed later was made before: of the two times the earlier one counts. The root
        # itself is changed by every new entry, so that only its birth tells.
        times = [int(birth)] if re.fullmatch("[1-9][0-9]{,11}", birth) else []
        times += [int(mtime)] if path in _FIRST_BOOT else []
        credible = [made for made in map(epoch, times) if made >= _CREDIBLE]
        if credible and (path in _FIRST_BOOT or path == "/"):
            marks.append(Mark(path, min(credible), Quote(section.name, number, number)))
    return HostAge(tuple(marks))
