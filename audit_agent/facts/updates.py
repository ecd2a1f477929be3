"""What can be said of pending security updates, whichever package manager says it."""

import datetime as dt

from msgspec import Struct

from audit_agent.model import Quote

Row = tuple[list[str], Quote]
"""One line of the collector's digest of the lists: its fields, and where it stands."""


class Update(Struct, frozen=True):
    """A newer version of an installed package.

    `source` is the advisory's id, or the suite where the lists have no advisories. `severity` is
    lower-case, "" where the lists do not tell; likewise `issued` is None.
    """

    package: str
    architecture: str
    installed: str
    candidate: str
    source: str
    severity: str
    issued: dt.date | None
    held: bool
    quote: Quote


class Doubt(Struct, frozen=True):
    """Why the lists may not hold every security update.

    `reason` is a fixed word: no-lists, no-suite, no-list, broken-list, no-advisories, no-metadata.
    """

    reason: str
    subject: str
    quotes: tuple[Quote, ...]


class Source(Struct, frozen=True):
    """A list that was read: a suite or a repository.

    `checked` is when the publisher dated it (apt) or the host last asked for it (rpm); `changed`
    is the newest date inside it.
    """

    name: str
    checked: dt.datetime
    changed: dt.datetime
    quote: Quote


class SecurityUpdates(Struct, frozen=True):
    """What is pending, which lists say so, and what they leave open."""

    pending: tuple[Update, ...]
    sources: tuple[Source, ...]
    doubts: tuple[Doubt, ...]
