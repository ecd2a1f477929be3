"""PT: patches and releases."""

import datetime as dt
from collections.abc import Iterator, Mapping

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.facts.kernel import Kernel
from audit_agent.facts.support import Release
from audit_agent.facts.updates import SecurityUpdates, Source, Update
from audit_agent.facts.upgrades import LastUpgrade
from audit_agent.model import Outcome, Quote, Status, Text

_DAY = dt.timedelta(days=1)
_SHOWN = 8
"""How many names a sentence lists; the quotes hold more."""


def release_supported(host: Host, params: Params) -> Iterator[Outcome]:
    """PT-01: the end of the release's security updates, from the table."""
    support, system = host.support, host.system
    release = support.release
    observed = f"ID={system.id} VERSION_ID={system.version_id} VERSION={system.version}"
    if support.declared is not None:
        observed += f" SUPPORT_END={support.declared}"
    if release is None or release.ends is None:
        note = f" ({release.note})" if release is not None and release.note else ""
        values: dict[str, str | int | Text] = {"system": system.pretty_name, "note": note}
        yield Outcome(
            Status.MANUAL, "unknown", observed=observed, values=values, quotes=support.quotes
        )
        return
    today = host.collected_at.date()
    free = release.extension == "free" and release.extended is not None
    last = release.extended if free and release.extended is not None else release.ends
    days = (last - today).days
    if days < 0:
        status, message = Status.FAIL, "ended"
    elif days <= params.integer("warn_days"):
        status, message = Status.WARN, "ending"
    elif (release.ends - today).days <= params.integer("warn_days"):
        status, message = Status.PASS, "extended"
    else:
        status, message = Status.PASS, "supported"
        last, days = release.ends, (release.ends - today).days
    values = {
        "release": release.title,
        "ends": str(release.ends),
        "last": str(last),
        "days": abs(days),
        "paid": _paid(release, today),
        "origin": _origin(release),
    }
    yield Outcome(status, message, observed=observed, values=values, quotes=support.quotes)


def _paid(release: Release, today: dt.date) -> Text:
    if release.extension != "paid" or release.extended is None or today > release.extended:
        return Text(en="", zh="")
    return Text(
        en=f"; paid extended support exists until {release.extended}",
        zh=f"；厂商另有付费延长支持，截至 {release.extended}",
    )


def _origin(release: Release) -> Text:
    note = f"; {release.note}" if release.note else ""
    return Text(
        en=f"source {release.source}, grade {release.grade}, checked {release.checked_on}{note}",
        zh=f"来源 {release.source}，核验等级 {release.grade}，核对日期 {release.checked_on}{note}",
    )


def updated_recently(host: Host, params: Params) -> Iterator[Outcome]:
    """PT-02: days since packages were last upgraded."""
    upgrade = host.last_upgrade
    now = host.collected_at
    yield _upgrade_outcome(upgrade, now, params)


def _upgrade_outcome(upgrade: LastUpgrade, now: dt.datetime, params: Params) -> Outcome:
    def state(at: dt.datetime) -> Status:
        days = (now - at) // _DAY
        if days <= params.integer("pass_days"):
            return Status.PASS
        return Status.WARN if days <= params.integer("warn_days") else Status.FAIL

    values: dict[str, str | int | Text] = {
        "days": max(0, (now - upgrade.latest) // _DAY),
        "date": f"{upgrade.latest:%Y-%m-%d}",
        "count": upgrade.packages,
        "from": f"{upgrade.earliest:%Y-%m-%d}" if upgrade.earliest else "?",
    }
    best = state(upgrade.latest)
    if upgrade.latest > now + _DAY:
        status, message = Status.UNKNOWN, "future"
    elif upgrade.earliest == upgrade.latest:
        status, message = best, upgrade.basis
    elif best is Status.FAIL:
        status, message = best, "none_since"
    elif upgrade.earliest is not None and state(upgrade.earliest) is best:
        status, message = best, "between"
    else:
        status, message = Status.UNKNOWN, "undecided"
    return Outcome(
        status,
        message,
        observed=f"{values['from']} .. {values['date']} ({upgrade.basis})",
        values=values,
        quotes=upgrade.quotes,
    )


def no_security_update_pending(host: Host, params: Params) -> Iterator[Outcome]:
    """PT-03: newer versions in the security lists; none only if the lists are whole and fresh."""
    updates = host.security_updates
    today = host.collected_at
    if updates.pending:
        yield _pending(updates, today.date(), params)
        return
    unsure = [*_doubts(updates), *_stale(updates.sources, today, params)]
    yield from unsure
    if not unsure:
        values: dict[str, str | int | Text] = {
            "count": len(host.packages),
            "sources": ", ".join(source.name for source in updates.sources),
            "date": f"{min(source.checked for source in updates.sources):%Y-%m-%d}",
        }
        lists = "patches.rpm-security" if host.packages[0].manager == "rpm" else _APT
        quotes = (*(source.quote for source in updates.sources), Quote(lists))
        yield Outcome(Status.PASS, "none", values=values, quotes=quotes)


_APT = "patches.apt-security"


def _pending(updates: SecurityUpdates, today: dt.date, params: Params) -> Outcome:
    overdue = [
        update
        for update in updates.pending
        if update.severity in {"critical", "important", "high"}
        and update.issued is not None
        and (today - update.issued).days > params.integer("overdue_days")
    ]
    shown = overdue or list(updates.pending)
    held = sum(update.held for update in updates.pending)
    names = list(dict.fromkeys(update.package for update in shown))
    values: dict[str, str | int | Text] = {
        "count": len({(update.package, update.architecture) for update in updates.pending}),
        "overdue": len({update.source for update in overdue}),
        "names": ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else ""),
        "days": params.integer("overdue_days"),
        "held": Text(en=f"; {held} of them are on hold", zh=f"；其中 {held} 个被设为保持不升级")
        if held
        else Text(en="", zh=""),
    }
    return Outcome(
        Status.FAIL if overdue else Status.WARN,
        "overdue" if overdue else "pending",
        observed="; ".join(_line(update) for update in shown[:20]),
        values=values,
        quotes=tuple(update.quote for update in shown[:20]),
    )


def _line(update: Update) -> str:
    said = " ".join(filter(None, (update.source, update.severity, str(update.issued or ""))))
    return (
        f"{update.package}:{update.architecture} {update.installed} < {update.candidate} [{said}]"
    )


def _doubts(updates: SecurityUpdates) -> Iterator[Outcome]:
    for doubt in updates.doubts:
        message = doubt.reason.replace("-", "_")
        yield Outcome(
            Status.UNKNOWN,
            message,
            subject=doubt.subject,
            quotes=doubt.quotes,
        )


def _stale(sources: tuple[Source, ...], now: dt.datetime, params: Params) -> Iterator[Outcome]:
    """Lists that are too old to say what is missing, or dated in the future."""
    for source in sources:
        age = now - source.checked
        still = now - source.changed
        if age < -_DAY or still < -_DAY:
            message, date, days = "future", source.checked, 0
        elif age // _DAY > params.integer("metadata_days"):
            message, date, days = "stale", source.checked, age // _DAY
        elif still // _DAY > params.integer("mirror_days"):
            message, date, days = "stale_mirror", source.changed, still // _DAY
        else:
            continue
        yield Outcome(
            Status.UNKNOWN,
            message,
            subject=source.name,
            observed=f"{date.isoformat()}",
            values={"date": f"{date:%Y-%m-%d}", "days": days},
            quotes=(source.quote,),
        )


def newest_kernel_runs(host: Host, params: Params) -> Iterator[Outcome]:
    """PT-04: the running kernel against the installed ones; a wanted restart."""
    if host.confinement.container:
        yield Outcome(
            Status.NOT_APPLICABLE,
            "container",
            observed=host.confinement.container,
            quotes=host.confinement.quotes,
        )
        return
    kernel = host.kernel
    if kernel.state == "older" and kernel.livepatches:
        yield _kernel_outcome(kernel, Status.PASS, "livepatch", None, host.collected_at)
    elif kernel.state == "older":
        since = kernel.pending_since or kernel.restart_wanted
        yield _waiting(kernel, "pending", since, host.collected_at, params)
    elif kernel.restart_wanted is not None:
        yield _waiting(kernel, "restart", kernel.restart_wanted, host.collected_at, params)
    elif kernel.state == "newest":
        yield _kernel_outcome(kernel, Status.PASS, "newest", None, host.collected_at)
    else:
        yield _kernel_outcome(kernel, Status.UNKNOWN, kernel.state, None, host.collected_at)


def _waiting(
    kernel: Kernel, message: str, since: dt.datetime | None, now: dt.datetime, params: Params
) -> Outcome:
    if since is None:
        return _kernel_outcome(kernel, Status.WARN, f"{message}_undated", None, now)
    late = (now - since) // _DAY > params.integer("warn_days")
    return _kernel_outcome(kernel, Status.FAIL if late else Status.WARN, message, since, now)


def _kernel_outcome(
    kernel: Kernel, status: Status, message: str, since: dt.datetime | None, now: dt.datetime
) -> Outcome:
    wanted = ", ".join(kernel.restart_packages[:_SHOWN])
    values: dict[str, str | int | Text] = {
        "running": kernel.running,
        "newest": kernel.newest,
        "patches": ", ".join(kernel.livepatches),
        "date": f"{since:%Y-%m-%d}" if since else "",
        "days": max(0, (now - since) // _DAY) if since else 0,
        "wanted": f" ({wanted})" if wanted else "",
    }
    return Outcome(
        status, message, observed=f"uname -r: {kernel.running}", values=values, quotes=kernel.quotes
    )


CHECKS: Mapping[str, Evaluate] = {
    "PT-01": release_supported,
    "PT-02": updated_recently,
    "PT-03": no_security_update_pending,
    "PT-04": newest_kernel_runs,
}
