"""How long a distribution's release gets security updates, from the table in data/releases.toml."""

import datetime as dt
import functools
import pkgutil
import re
import tomllib

import msgspec
from msgspec import Struct

from audit_agent.facts.system import System
from audit_agent.model import Evidence, Quote


class Release(Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table.

    `id`, `version`, `name`, `platform` and `service_pack` are what os-release(5) must say for the
    row to be meant; `version` also covers its point releases, and an empty field covers anything.
    `ends` is the last day of free security updates, None where no source told; `extended` the last
    day of a further programme, which is free or paid as `extension` says. `grade` is how well the
    date was verified (V1 read at the publisher's own data, V3 told by others, U unknown).
    """

    title: str
    id: str
    source: str
    grade: str
    checked_on: dt.date
    version: str = ""
    name: str = ""
    platform: str = ""
    service_pack: str | None = None
    ends: dt.date | None = None
    extended: dt.date | None = None
    extension: str = ""
    note: str = ""

    def is_of(self, system: System) -> bool:
        """Whether this row is about that system."""
        pack = re.search(r"\bSP\d+", system.version)
        return (
            self.id == system.id
            and (not self.version or f"{system.version_id}.".startswith(f"{self.version}."))
            and (not self.name or self.name.lower() in system.name.lower())
            and (not self.platform or system.platform_id.startswith(self.platform))
            and self.service_pack in {None, pack[0] if pack else ""}
        )


class Support(Struct, frozen=True):
    """The table's row about a system (None: it has none), and os-release's own SUPPORT_END."""

    release: Release | None
    declared: dt.date | None
    quotes: tuple[Quote, ...]


def read_support(evidence: Evidence, system: System) -> Support:
    """What is known about the end of the system's security updates."""
    release = next((row for row in releases() if row.is_of(system)), None)
    for number, line in enumerate(evidence[system.quote.section].lines, 1):
        if found := re.match(r"SUPPORT_END=[\"']?(\d{4}-\d\d-\d\d)", line):
            try:
                declared = dt.date.fromisoformat(found[1])
            except ValueError:
                continue
            own = Quote(system.quote.section, number, number)
            return Support(release, declared, (system.quote, own))
    return Support(release, None, (system.quote,))


@functools.cache
def releases() -> tuple[Release, ...]:
    """The table, in its order."""
    data = pkgutil.get_data("audit_agent", "data/releases.toml")
    if data is None:
        raise FileNotFoundError("the installation lacks audit_agent/data/releases.toml")
    table = tomllib.loads(data.decode())
    defaults = table["defaults"]
    return msgspec.convert(
        [defaults | row for row in table["release"]], tuple[Release, ...], strict=True
    )
