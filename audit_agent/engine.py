"""Judges evidence: every selected check gives at least one finding. No I/O."""

import hashlib
import string
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from audit_agent.facts import Host
from audit_agent.model import (
    Citation,
    Evidence,
    EvidenceMissing,
    Finding,
    Gap,
    Outcome,
    Quote,
    Severity,
    Status,
    Text,
)


class Params:
    """A check's thresholds, from its TOML table; asking for one that is not there is a bug."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def integer(self, name: str) -> int:
        """A whole number (days, ports, bits: the name says the unit)."""
        return msgspec.convert(self._values[name], int)

    def integers(self, name: str) -> list[int]:
        """A list of whole numbers."""
        return msgspec.convert(self._values[name], list[int])


Evaluate = Callable[[Host, Params], Iterable[Outcome]]


class Remediation(Struct, frozen=True):
    """What to do: a sentence, and commands per distribution family ("any" fits all)."""

    text: Text
    commands: Mapping[str, tuple[str, ...]] = {}


class Check(Struct, frozen=True):
    """One control: its words and law (from TOML) and the pure function that judges it.

    `basis` is what decides the pass line: LAW, STD, STD* (the clause demands the measure, the
    number is practice), GUIDE or PRACTICE. `remediations` are keyed by message, or "default".
    """

    id: str
    area: str
    area_title: Text
    severity: Severity
    basis: str
    title: Text
    why: Text
    expected: Text
    citations: tuple[Citation, ...]
    messages: Mapping[str, Text]
    remediations: Mapping[str, Remediation]
    params: Params
    evaluate: Evaluate


_MISSING = {
    Gap.ABSENT: Text(
        en="{section} does not exist on the host",
        zh="主机上不存在 {section}",
    ),
    Gap.NO_TOOL: Text(
        en="{section} could not be read: the host lacks the program for it",
        zh="无法读取 {section}：主机上没有所需的程序",
    ),
    Gap.DENIED: Text(
        en="{section} could not be read: it takes more privilege than the audit had",
        zh="无法读取 {section}：本次审计的权限不足",
    ),
    Gap.TIMEOUT: Text(
        en="{section} took too long and was stopped",
        zh="读取 {section} 超时，已中止",
    ),
    Gap.TRUNCATED: Text(
        en="{section} is larger than its limit and was cut",
        zh="{section} 超出大小上限，已被截断",
    ),
    Gap.FAILED: Text(
        en="{section} could not be read: the command failed",
        zh="无法读取 {section}：命令执行失败",
    ),
    Gap.LOST: Text(
        en="{section} is missing: the collection broke off before it was complete",
        zh="缺少 {section}：采集在完成之前中断",
    ),
    Gap.NOT_COLLECTED: Text(
        en="{section} was not collected: this collector does not read it",
        zh="未采集 {section}：所用采集脚本不读取该项",
    ),
}

_MEND = {
    Gap.DENIED: Text(
        en="Repeat the audit as root, or with --sudo or --ask-sudo-password.",
        zh="以 root 身份，或使用 --sudo、--ask-sudo-password 重新审计。",
    ),
    Gap.LOST: Text(
        en="Repeat the audit; if it breaks off again, raise --timeout.",
        zh="重新审计；如再次中断，请增大 --timeout。",
    ),
    Gap.TIMEOUT: Text(
        en="Repeat the audit when the host is less busy.",
        zh="在主机负载较低时重新审计。",
    ),
}

_BY_HAND = Text(
    en="Confirm this control on the host by hand and attach what you saw.",
    zh="请在主机上人工核实该项，并附上佐证材料。",
)


def audit(evidence: Evidence, checks: Sequence[Check]) -> tuple[Finding, ...]:
    """Judge one host: one finding or more per check, in the order of `checks`.

    A check whose evidence is missing gives UNKNOWN; one that raises, or says nothing, gives
    ERROR, and the audit goes on.
    """
    host = Host(evidence)
    family = _family(host)
    return tuple(
        _finding(check, outcome, family) for check in checks for outcome in _outcomes(check, host)
    )


def _family(host: Host) -> str:
    try:
        return host.system.family
    except EvidenceMissing:
        return ""


def _outcomes(check: Check, host: Host) -> list[Outcome]:
    try:
        outcomes = list(check.evaluate(host, check.params))
        for outcome in outcomes:
            if outcome.message not in check.messages:
                raise LookupError(f"{check.id} has no message {outcome.message!r}")  # noqa: TRY301 - our bug, shown like any other
    except EvidenceMissing as missing:
        return [_unknown(missing)]
    except Exception as error:  # noqa: BLE001 - a broken check must not take the audit with it
        return [_error(error)]
    return outcomes or [_error(RuntimeError("the check gave no outcome"))]


def _unknown(missing: EvidenceMissing) -> Outcome:
    return Outcome(
        status=Status.UNKNOWN,
        message=f"missing:{missing.gap}",
        observed=missing.detail[:500],
        values={"section": missing.section},
        quotes=(Quote(missing.section),),
    )


def _error(error: Exception) -> Outcome:
    return Outcome(
        status=Status.ERROR,
        message="error",
        observed=f"{type(error).__name__}: {error}"[:500],
    )


_ERROR = Text(
    en="The check itself failed; this is a fault of audit-agent, not of the host. Please report it",
    zh="检查程序自身出错；这是 audit-agent 的缺陷，与主机无关，请反馈",
)


def _finding(check: Check, outcome: Outcome, family: str) -> Finding:
    remediation, commands = _remediation(check, outcome, family)
    return Finding(
        check=check.id,
        area=check.area,
        area_title=check.area_title,
        status=outcome.status,
        severity=outcome.severity or check.severity,
        title=check.title,
        subject=outcome.subject,
        summary=_summary(check, outcome),
        why=check.why,
        observed=outcome.observed,
        expected=check.expected,
        basis=check.basis,
        citations=check.citations,
        quotes=outcome.quotes,
        remediation=remediation,
        commands=commands,
        fingerprint=_fingerprint(check, outcome),
    )


def _fingerprint(check: Check, outcome: Outcome) -> str:
    """The same for the same check and subject in every run: what a waiver or a diff refers to."""
    return hashlib.sha256(f"{check.id}\0{outcome.subject}".encode()).hexdigest()[:16]


def _summary(check: Check, outcome: Outcome) -> Text:
    if outcome.status is Status.ERROR:
        return _ERROR
    if outcome.message.startswith("missing:"):
        template = _MISSING[Gap(outcome.message.removeprefix("missing:"))]
    else:
        template = check.messages[outcome.message]
    return Text(en=_fill(template.en, outcome, "en"), zh=_fill(template.zh, outcome, "zh"))


def _fill(template: str, outcome: Outcome, lang: str) -> str:
    values = {
        name: value.in_(lang) if isinstance(value, Text) else str(value)
        for name, value in outcome.values.items()
    }
    return string.Formatter().vformat(template, (), {"subject": outcome.subject} | values)


def _remediation(
    check: Check, outcome: Outcome, family: str
) -> tuple[Text | None, tuple[str, ...]]:
    if outcome.status in {Status.PASS, Status.NOT_APPLICABLE, Status.ERROR}:
        return None, ()
    if outcome.message.startswith("missing:"):
        gap = Gap(outcome.message.removeprefix("missing:"))
        return _MEND.get(gap, _BY_HAND), ()
    advice = check.remediations.get(outcome.message)
    if advice is None and outcome.status is not Status.UNKNOWN:
        # The default advice mends a control that failed; it does not make one known.
        advice = check.remediations.get("default")
    if advice is None:
        return _BY_HAND, ()
    commands = advice.commands.get("any", ()) + advice.commands.get(family, ())
    return advice.text, commands
