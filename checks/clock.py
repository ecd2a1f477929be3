"""TM: the clock."""

import datetime as dt
from collections.abc import Iterator, Mapping

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.facts.clock import Clock, ClockService
from audit_agent.model import Outcome, Status

_JUST_STARTED = dt.timedelta(minutes=10)


def clock_synchronised(host: Host, params: Params) -> Iterator[Outcome]:
    """TM-01: a time service that runs and says that it follows a source it can reach."""
    clock = host.clock
    if clock.services:
        hours = params.integer("sync_hours")
        judged = [_judge(service, clock, hours) for service in clock.services]
        yield min(judged, key=lambda outcome: _ORDER.index(outcome.status))
    elif host.confinement.container:
        yield Outcome(
            Status.NOT_APPLICABLE,
            "container",
            observed=host.confinement.container,
            quotes=host.confinement.quotes,
        )
    else:
        yield _without_service(clock)


_ORDER = (Status.PASS, Status.UNKNOWN, Status.FAIL)
"""One service that follows a source is enough; one that could not be asked may do so."""


def _judge(service: ClockService, clock: Clock, hours: int) -> Outcome:
    if service.since is not None:
        return _by_age(service, service.since, clock.now, hours)
    if service.synchronised:
        return _outcome(service, Status.PASS, "follows" if service.source else "says")
    if service.synchronised is None:
        if clock.kernel:
            return _outcome(service, Status.PASS, "kernel")
        return _outcome(service, Status.UNKNOWN, "not_told")
    if clock.uptime is not None and clock.uptime < _JUST_STARTED:
        return _outcome(service, Status.UNKNOWN, "just_started")
    return _outcome(service, Status.FAIL, "unsynchronised")


def _by_age(service: ClockService, since: dt.datetime, now: dt.datetime, hours: int) -> Outcome:
    """By its last answer; the kernel too stops trusting its clock after so many hours."""
    age = now - since
    minutes = max(0, age // dt.timedelta(minutes=1))
    if age < -dt.timedelta(hours=1):
        return _outcome(service, Status.UNKNOWN, "future")
    if age <= dt.timedelta(hours=hours):
        return _outcome(service, Status.PASS, "answered", minutes)
    return _outcome(service, Status.FAIL, "silent", minutes)


def _outcome(service: ClockService, status: Status, message: str, minutes: int = 0) -> Outcome:
    return Outcome(
        status,
        message,
        observed=" ".join(filter(None, (service.name, service.source, service.answer))),
        values={"service": service.name, "source": service.source, "minutes": minutes},
        quotes=service.quotes,
    )


def _without_service(clock: Clock) -> Outcome:
    if clock.jobs:
        jobs = "; ".join(clock.jobs[:3])
        return Outcome(
            Status.MANUAL, "jobs", observed=jobs, values={"jobs": jobs}, quotes=clock.quotes
        )
    if clock.agents or clock.kernel:
        agents = ", ".join(clock.agents) or "adjtimex(2)"
        return Outcome(
            Status.MANUAL, "agents", observed=agents, values={"agents": agents}, quotes=clock.quotes
        )
    if not clock.all_seen:
        return Outcome(Status.UNKNOWN, "not_all_seen", quotes=clock.quotes)
    return Outcome(Status.FAIL, "nothing", quotes=clock.quotes)


CHECKS: Mapping[str, Evaluate] = {"TM-01": clock_synchronised}
