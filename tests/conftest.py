"""What every test may use: evidence from literal text, and the judging of one check."""

import datetime as dt
from collections.abc import Callable, Mapping

import pytest

from audit_agent import engine, plugins
from audit_agent.model import Evidence, Finding, Gap, Identity, Privilege, Section

pytest_plugins = ["testbed.fixtures"]

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=8)))

Content = str | bytes | Gap
MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., list[Finding]]


@pytest.fixture
def make_evidence() -> MakeEvidence:
    """Evidence from {section: text or gap}; a gap stands for a section that could not be read."""

    def make(sections: Mapping[str, Content], *, uid: int = 0, now: dt.datetime = NOW) -> Evidence:
        built: dict[str, Section] = {}
        for name, content in sections.items():
            if isinstance(content, Gap):
                built[name] = Section(name=name, command=name, gap=content)
            else:
                data = content.encode() if isinstance(content, str) else content
                built[name] = Section(name=name, command=name, exit_status=0, stdout=data)
        return Evidence(
            identity=Identity(hostname="web1"),
            privilege=Privilege(user="root" if uid == 0 else "ops", uid=uid),
            target="web1",
            address="192.0.2.10",
            collected_at=now,
            clock="controller",
            collector="test",
            complete=True,
            interrupted="",
            sections=built,
        )

    return make


@pytest.fixture
def judge(make_evidence: MakeEvidence) -> Judge:
    """The findings of one check over {section: text or gap}."""
    known = {check.id: check for check in plugins.checks()}

    def run(
        ident: str, sections: Mapping[str, Content], *, uid: int = 0, now: dt.datetime = NOW
    ) -> list[Finding]:
        evidence = make_evidence(sections, uid=uid, now=now)
        return list(engine.audit(evidence, [known[ident]]))

    return run
