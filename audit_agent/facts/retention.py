"""How long a configuration promises to keep a record, in days: at least, and at most."""

import calendar
import datetime as dt

from msgspec import Struct

from audit_agent.facts.logrotate import Settings

FOREVER = 36500
"""Days that stand for "nothing removes it"."""


class Promise(Struct, frozen=True):
    """How many days a record stays, if the job that rotates runs every day.

    `least` is None where it depends on how much is written, or how often the job runs; `most` is
    None where nothing bounds it.
    """

    least: int | None
    most: int | None


def promise(settings: Settings) -> Promise:
    """What a rule of logrotate promises.

    A record that was just written is turned over once, and goes with the rotation that follows
    `rotate` more: it stays for `rotate` periods at least and one more at most. `maxage` is only
    looked at when the log is rotated, and by the time of the last line: it never takes a record
    that is younger. `minsize`, `minage` and `notifempty` can only put a rotation off.
    """
    endless = settings.rotate < 0
    if endless and not settings.maxage:
        return Promise(FOREVER, None)
    least = FOREVER if endless else _least(settings)
    most = None if endless else _most(settings)
    if settings.maxage:
        least = None if least is None else min(least, settings.maxage)
        by_age = settings.maxage + 2 * _days(settings.criterion, 1, longest=True)
        most = by_age if _regular(settings) and (most is None or by_age < most) else most
    return Promise(least, most)


def _least(settings: Settings) -> int | None:
    if settings.criterion == "size" or settings.maxsize:
        return 0 if settings.rotate == 0 else None
    if settings.criterion == "hourly" and settings.rotate:
        return None
    return _days(settings.criterion, settings.rotate)


def _most(settings: Settings) -> int | None:
    if not _regular(settings):
        return None
    if settings.criterion == "hourly":  # where the job runs but once a day
        return settings.rotate + 1
    return _days(settings.criterion, settings.rotate + 1, longest=True)


def _regular(settings: Settings) -> bool:
    """Whether every period brings a rotation."""
    skips = settings.minsize or settings.minage or settings.copy or not settings.ifempty
    return settings.criterion != "size" and not skips


_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _days(criterion: str, count: int, *, longest: bool = False) -> int:
    """The fewest days, or the most, that so many periods in a row can take."""
    years, rest = divmod(count, 12)
    if criterion == "monthly":
        spans = [sum(_MONTHS[(first + n) % 12] for n in range(rest)) for first in range(12)]
        return years * 366 + max(spans) + 1 if longest else years * 365 + min(spans)
    if criterion == "yearly":
        return count * (366 if longest else 365)
    return count * (7 if criterion == "weekly" else 1)


def months_before(day: dt.date, months: int) -> dt.date:
    """The same day so many calendar months earlier, or the last one that the month has."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
