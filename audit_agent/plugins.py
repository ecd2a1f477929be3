"""The two doors: finds the checks in checks/ and the formats in reports/."""

import importlib
import pkgutil
import string
import tomllib
from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from audit_agent.engine import Check, Evaluate, Params, Remediation
from audit_agent.model import Citation, Results, Severity, Text

_CHECKS = "audit_agent.checks"
_REPORTS = "audit_agent.reports"

Render = Callable[[Results, str], bytes]
"""A report format: the results and a language ("en" or "zh") in, the file's bytes out."""


class BrokenPlugin(Exception):  # noqa: N818 - reads as what it says
    """A check or a format that does not fit; the message names the file. Never a user's fault."""


class _Cite(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    clause: str = ""


class _Advice(msgspec.Struct, forbid_unknown_fields=True):
    en: str
    zh: str
    commands: dict[str, list[str]] = {}


class _Control(msgspec.Struct, forbid_unknown_fields=True):
    """One check's table in an area's TOML file."""

    severity: Severity
    basis: str
    title: Text
    why: Text
    expected: Text
    citations: list[_Cite]
    messages: dict[str, Text]
    remediation: dict[str, _Advice] = {}
    params: dict[str, object] = {}


class _Area(msgspec.Struct, forbid_unknown_fields=True):
    """An area's own table: its title and place, and words that all of its checks may use."""

    en: str
    zh: str
    order: int
    messages: dict[str, Text] = {}
    remediation: dict[str, _Advice] = {}


class _Source(msgspec.Struct, forbid_unknown_fields=True):
    """One instrument in checks/sources.toml."""

    en: str
    zh: str
    kind: str
    grade: str
    clause: str = ""


def checks() -> list[Check]:
    """Every check, by area order and then by id.

    Raises:
        BrokenPlugin: an area does not fit together, an id is double, or there is no check at all.
    """
    sources = msgspec.convert(_toml("sources.toml"), dict[str, _Source])
    ranked: list[tuple[int, Check]] = []
    for name in _modules(_CHECKS):
        ranked += _area(name, sources)
    found = [check for _, check in sorted(ranked, key=lambda pair: (pair[0], pair[1].id))]
    ids = [check.id for check in found]
    double = {ident for ident in ids if ids.count(ident) > 1}
    if double:
        raise BrokenPlugin(f"checks: double ids: {', '.join(sorted(double))}")
    if not found:
        raise BrokenPlugin("checks: the installation holds no checks at all")
    return found


def _modules(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path))


def _toml(name: str) -> dict[str, object]:
    data = pkgutil.get_data(_CHECKS, name)
    if data is None:
        raise BrokenPlugin(f"checks/{name} is missing")
    return tomllib.loads(data.decode())


def _area(name: str, sources: Mapping[str, _Source]) -> list[tuple[int, Check]]:
    module = importlib.import_module(f"{_CHECKS}.{name}")
    evaluate = cast(Mapping[str, Evaluate], module.CHECKS)
    table = _toml(f"{name}.toml")
    try:
        head = msgspec.convert(table.pop("area"), _Area)
        controls = msgspec.convert(table, dict[str, _Control])
        if controls.keys() != evaluate.keys():
            odd = ", ".join(sorted(controls.keys() ^ evaluate.keys()))
            raise BrokenPlugin(f"has words or code, not both, for {odd}")  # noqa: TRY301 - gets its file's name below
        return [
            (head.order, _check(ident, name, head, control, evaluate[ident], sources))
            for ident, control in controls.items()
        ]
    except (msgspec.ValidationError, KeyError, BrokenPlugin) as error:
        raise BrokenPlugin(f"checks/{name}.toml: {error}") from error


def _check(
    ident: str,
    area: str,
    head: _Area,
    control: _Control,
    evaluate: Evaluate,
    sources: Mapping[str, _Source],
) -> Check:
    messages = head.messages | control.messages
    for key, message in messages.items():
        if _placeholders(message.en) != _placeholders(message.zh):
            raise BrokenPlugin(f"{ident}.messages.{key}: en and zh differ in their placeholders")
    return Check(
        id=ident,
        area=area,
        area_title=Text(en=head.en, zh=head.zh),
        severity=control.severity,
        basis=control.basis,
        title=control.title,
        why=control.why,
        expected=control.expected,
        citations=tuple(_citation(cite, sources) for cite in control.citations),
        messages=messages,
        remediations={
            key: Remediation(
                text=Text(en=advice.en, zh=advice.zh),
                commands={family: tuple(lines) for family, lines in advice.commands.items()},
            )
            for key, advice in (head.remediation | control.remediation).items()
        },
        params=Params(control.params),
        evaluate=evaluate,
    )


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _citation(cite: _Cite, sources: Mapping[str, _Source]) -> Citation:
    if cite.source not in sources:
        raise BrokenPlugin(f"cites {cite.source}, which sources.toml does not hold")
    source = sources[cite.source]
    return Citation(
        key=cite.source,
        clause=cite.clause or source.clause,
        kind=source.kind,
        grade=source.grade,
        title=Text(en=source.en, zh=source.zh),
    )


def formats() -> list[str]:
    """The names of the report formats, sorted."""
    return _modules(_REPORTS)


def renderer(name: str) -> Render:
    """The format's render function.

    Raises:
        BrokenPlugin: there is no such format (the CLI only offers those of `formats`).
    """
    if name not in formats():
        raise BrokenPlugin(f"reports: there is no format {name!r}")
    return cast(Render, importlib.import_module(f"{_REPORTS}.{name}").render)
