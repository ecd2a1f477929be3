"""The installed packages, as dpkg, rpm or apk list them."""

import datetime as dt
from collections.abc import Iterator

from msgspec import Struct

from audit_agent.facts.versions import rpm_evr
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section

_SECTIONS = {
    "debian": ("packages.dpkg",),
    "rhel": ("packages.rpm",),
    "suse": ("packages.rpm",),
    "alpine": ("packages.apk",),
}


class Package(Struct, frozen=True):
    """One installed package.

    `version` is whole ("epoch:version-release" for rpm). `installed_at` is when this version was
    put there; only rpm records it. `held` is dpkg's hold.
    """

    name: str
    version: str
    architecture: str
    manager: str
    held: bool
    installed_at: dt.datetime | None
    quote: Quote


def read_packages(evidence: Evidence, family: str) -> list[Package]:
    """Every installed package, from the manager that the distribution's family uses.

    Raises:
        EvidenceMissing: there is no list of packages, or it is empty.
    """
    names = _SECTIONS.get(family, ("packages.dpkg", "packages.rpm", "packages.apk"))
    present = [name for name in names if name in evidence.sections] or list(names)
    missing: EvidenceMissing | None = None
    for name in present:
        try:
            section = evidence[name]
        except EvidenceMissing as error:
            missing = missing or error
            continue
        if packages := list(_READERS[name](section)):
            return packages
    raise missing or EvidenceMissing(present[0], Gap.FAILED)


def _dpkg(section: Section) -> Iterator[Package]:
    """Packages that are there at all: neither "not installed" nor only their configuration."""
    for number, line in enumerate(section.lines, 1):
        fields = line.split("\t")
        if len(fields) != 4 or fields[0][1:2] in {"n", "c", ""}:
            continue
        state, name, architecture, version = fields
        quote = Quote(section.name, number, number)
        yield Package(name, version, architecture, "dpkg", state[0] == "h", None, quote)


def _rpm(section: Section) -> Iterator[Package]:
    for number, line in enumerate(section.lines, 1):
        fields = line.split("\t")
        if len(fields) != 7 or fields[0] == "gpg-pubkey":
            continue
        name, epoch, version, release, architecture, installed, _ = fields
        yield Package(
            name,
            rpm_evr(epoch, version, release),
            architecture,
            "rpm",
            held=False,
            installed_at=epoch_time(installed),
            quote=Quote(section.name, number, number),
        )


def _apk(section: Section) -> Iterator[Package]:
    for number, line in enumerate(section.lines, 1):
        fields = line.split("\t")
        if len(fields) == 3:
            name, architecture, version = fields
            quote = Quote(section.name, number, number)
            yield Package(name, version, architecture, "apk", False, None, quote)  # noqa: FBT003 - held


_READERS = {"packages.dpkg": _dpkg, "packages.rpm": _rpm, "packages.apk": _apk}


def epoch_time(text: str) -> dt.datetime | None:
    """Seconds since 1970 as a time, or None where `text` is not such a number."""
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return None
    return dt.datetime.fromtimestamp(int(text), dt.UTC)


def file_times(section: Section) -> dict[str, tuple[dt.datetime, Quote]]:
    """What `stat -c '%Y %n'` printed: the modification time of each path."""
    times: dict[str, tuple[dt.datetime, Quote]] = {}
    for number, line in enumerate(section.lines, 1):
        seconds, _, path = line.partition(" ")
        time = epoch_time(seconds)
        if path and time is not None:
            times[path] = (time, Quote(section.name, number, number))
    return times
