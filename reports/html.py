"""The report that people read: one HTML file, without script, that refers to nothing outside it.

Whatever comes from a host is hostile. It is escaped by the template engine, and `visible` shows
its control and direction characters instead of sending them to the reader's browser.
"""

import base64
import datetime as dt
import functools
import hashlib
import itertools
import pkgutil
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup
from msgspec import Struct

from audit_agent import seal
from audit_agent.model import (
    Citation,
    Finding,
    Gap,
    HostReport,
    Quote,
    Results,
    Section,
    Status,
    Text,
)

STATUSES = (
    Status.FAIL,
    Status.WARN,
    Status.UNKNOWN,
    Status.MANUAL,
    Status.ERROR,
    Status.PASS,
    Status.NOT_APPLICABLE,
)
"""The order in which statuses are shown: what needs somebody first."""

JUDGED = frozenset({Status.PASS, Status.WARN, Status.FAIL})

MOST_LINES = 40
"""How many lines of one section a finding shows."""

MOST_SECTIONS = 12
"""How many sections a finding shows."""

MOST_CHARACTERS = 400
"""How much of one line is shown."""


# ---- words


class _Word(Struct, frozen=True, forbid_unknown_fields=True):
    en: str
    zh: str
    one: str = ""


@functools.cache
def _words() -> Mapping[str, _Word]:
    return msgspec.convert(tomllib.loads(_asset("words.toml")), dict[str, _Word])


def _asset(name: str) -> str:
    data = pkgutil.get_data("audit_agent.reports", name)
    if data is None:
        raise FileNotFoundError(f"the installation lacks reports/{name}")
    return data.decode()


class _Speaker:
    """Says the chrome's words in one language."""

    def __init__(self, lang: str) -> None:
        self._lang = lang

    def word(self, key: str, **values: object) -> str:
        """The word `key` with its placeholders filled; an unknown key is a bug and raises."""
        word = _words()[key]
        template = word.zh if self._lang == "zh" else word.en
        if self._lang != "zh" and word.one and values.get("n") == 1:
            template = word.one
        return template.format(**values)

    def named(self, family: str, value: str, otherwise: str = "") -> str:
        """The word for a value of a fixed set, or the value itself where it is foreign to it."""
        if f"{family}.{value}" in _words():
            return self.word(f"{family}.{value}")
        return self.word(f"{family}.{otherwise}") if otherwise else value

    def text(self, text: Text) -> str:
        """A check's sentence."""
        return text.in_(self._lang)

    def clause(self, citation: Citation) -> str:
        """The clause as the language writes it: 23(3) of a law is 第二十三条（三）."""
        found = re.fullmatch(r"(\d{1,3})(?:\((\d{1,2})\))?", citation.clause)
        if citation.kind != "LAW" or found is None:
            return citation.clause
        if self._lang != "zh":
            return self.word("clause.law", clause=citation.clause)
        item = f"（{_chinese(int(found[2]))}）" if found[2] else ""
        return f"第{_chinese(int(found[1]))}条{item}"


def _chinese(number: int) -> str:
    """A number below 1000 in Chinese numerals: 23 is 二十三, 110 一百一十."""
    digits = "零一二三四五六七八九"
    hundreds, rest = divmod(number, 100)
    tens, units = divmod(rest, 10)
    words = f"{digits[hundreds]}百" if hundreds else ""
    if tens:
        words += "十" if tens == 1 and not hundreds else f"{digits[tens]}十"
    elif hundreds and units:
        words += "零"
    return words + (digits[units] if units or not number else "")


# ---- what hosts send, made harmless


def visible(value: object) -> object:
    """`value` with every invisible character shown: ESC as ␛, U+202E as ‹U+202E›.

    The template engine passes every expression through here, before it escapes markup.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(map(_visible, value))


def _visible(char: str) -> str:
    if char.isprintable() or char in "\t\n\u3000":
        return char
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"‹U+{code:04X}›"


def _css_string(text: str) -> str:
    """`text` as a CSS string; all but plain letters and digits are escaped by number."""
    shown = str(visible(text.replace("\n", " ")))
    plain = (c if c.isascii() and c.isalnum() else f"\\{ord(c):06x}" for c in shown)
    return f'"{"".join(plain)}"'


def _stamp(when: dt.datetime) -> str:
    """The time to the second with its UTC offset."""
    offset = when.strftime("%z")
    return f"{when:%Y-%m-%d %H:%M:%S} (UTC{offset[:3]}:{offset[3:5]})"


# ---- what the templates show


class Line(Struct, frozen=True):
    """One line of evidence; `number` 0 is a break between lines that do not follow each other.

    `cut` says how many characters were left out at its end.
    """

    number: int
    text: str = ""
    cut: int = 0


class Excerpt(Struct, frozen=True):
    """What a finding quotes of one section. `row` is its number in the manifest, or 0.

    `ranges` is empty where the whole section is quoted; `more` counts the lines left out.
    `repeats` names the check under which the same excerpt stands already, or is "".
    """

    name: str
    row: int
    section: Section | None
    gap: Gap | None
    ranges: tuple[str, ...]
    lines: tuple[Line, ...]
    more: int
    repeats: str
    errors: tuple[Line, ...]


class Item(Struct, frozen=True):
    """A finding with the evidence it shows; `unshown` are further sections, by name."""

    anchor: str
    finding: Finding
    excerpts: tuple[Excerpt, ...]
    unshown: tuple[str, ...]


class Group(Struct, frozen=True):
    """The findings of one check, the worst first; `batches` are those with the same advice."""

    anchor: str
    head: Finding
    items: tuple[Item, ...]
    batches: tuple[tuple[Item, ...], ...]

    @property
    def even(self) -> bool:
        """Whether all its findings weigh the same."""
        return len({item.finding.severity for item in self.items}) == 1

    @property
    def quiet(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self.head.status in {Status.PASS, Status.NOT_APPLICABLE}


class Area(Struct, frozen=True):
    """One area of controls."""

    anchor: str
    title: Text
    counts: Mapping[Status, int]
    groups: tuple[Group, ...]


class Task(Struct, frozen=True):
    """One thing to do, and the findings that it would settle."""

    head: Finding
    items: tuple[Item, ...]


class Row(Struct, frozen=True):
    """A section's row in the manifest."""

    number: int
    section: Section
    sha256: str


class HostView(Struct, frozen=True):
    """All that is shown of one host."""

    anchor: str
    report: HostReport
    name: str
    counts: Mapping[Status, int]
    checks: int
    gaps: int
    areas: tuple[Area, ...]
    mend: tuple[Task, ...]
    unknown: tuple[Task, ...]
    manual: tuple[Task, ...]
    errors: tuple[Task, ...]
    manifest: tuple[Row, ...]

    @property
    def judged(self) -> bool:
        """Whether any control was seen to be met or not."""
        return any(self.counts[status] for status in JUDGED)


def _host(report: HostReport, anchor: str) -> HostView:
    evidence = report.evidence
    rows = tuple(
        Row(number, section, hashlib.sha256(section.stdout).hexdigest())
        for number, section in enumerate(evidence.sections.values(), 1)
    )
    groups = _groups(report, anchor)
    items = [item for group in groups for item in group.items]
    return HostView(
        anchor=anchor,
        report=report,
        name=evidence.identity.hostname or evidence.target,
        counts=_counts(report.findings),
        checks=len(groups),
        gaps=sum(section.gap not in {None, Gap.ABSENT} for section in evidence.sections.values()),
        areas=_areas(groups, anchor),
        mend=_tasks(items, {Status.FAIL, Status.WARN}, by_check=True),
        unknown=_tasks(items, {Status.UNKNOWN}),
        manual=_tasks(items, {Status.MANUAL}, by_check=True),
        errors=_tasks(items, {Status.ERROR}),
        manifest=rows,
    )


def _counts(findings: Iterable[Finding]) -> dict[Status, int]:
    counted = Counter(finding.status for finding in findings)
    return {status: counted[status] for status in STATUSES}


def _urgency(finding: Finding) -> tuple[int, int]:
    return STATUSES.index(finding.status), -finding.severity.rank


def _groups(report: HostReport, anchor: str) -> list[Group]:
    by_check: dict[str, list[Finding]] = {}
    for finding in report.findings:
        by_check.setdefault(finding.check, []).append(finding)
    cutter = _Cutter(report)
    groups: list[Group] = []
    for number, findings in enumerate(by_check.values(), 1):
        start = f"{anchor}-c{number}"
        findings.sort(key=_urgency)
        items = tuple(
            cutter.item(finding, f"{start}-{place}") for place, finding in enumerate(findings, 1)
        )
        batches = tuple(tuple(batch) for _, batch in itertools.groupby(items, _advice))
        groups.append(Group(anchor=start, head=findings[0], items=items, batches=batches))
    return groups


def _advice(item: Item) -> tuple[Text | None, tuple[str, ...]]:
    return item.finding.remediation, item.finding.commands


def _areas(groups: Sequence[Group], anchor: str) -> tuple[Area, ...]:
    by_area: dict[str, list[Group]] = {}
    for group in groups:
        by_area.setdefault(group.head.area, []).append(group)
    return tuple(
        Area(
            anchor=f"{anchor}-a{number}",
            title=members[0].head.area_title,
            counts=_counts(item.finding for group in members for item in group.items),
            groups=tuple(sorted(members, key=lambda group: _urgency(group.head))),
        )
        for number, members in enumerate(by_area.values(), 1)
    )


def _tasks(
    items: Iterable[Item], statuses: set[Status], *, by_check: bool = False
) -> tuple[Task, ...]:
    """The items of these statuses, those with the same advice together, most urgent first."""
    together: dict[object, list[Item]] = {}
    for item in sorted(items, key=lambda item: _urgency(item.finding)):
        finding = item.finding
        if finding.status in statuses:
            kind = (finding.check, finding.status, finding.severity) if by_check else ()
            key = (kind, _advice(item))
            together.setdefault(key, []).append(item)
    return tuple(Task(head=group[0].finding, items=tuple(group)) for group in together.values())


class _Cutter:
    """Cuts the lines that findings quote out of one host's sections."""

    def __init__(self, report: HostReport) -> None:
        self._evidence = report.evidence
        self._rows = {name: number for number, name in enumerate(report.evidence.sections, 1)}
        self._lines: dict[str, list[str]] = {}
        self._shown: dict[tuple[str, tuple[str, ...]], str] = {}

    def item(self, finding: Finding, anchor: str) -> Item:
        quotes: dict[str, list[Quote]] = {}
        for quote in finding.quotes:
            quotes.setdefault(quote.section, []).append(quote)
        names = list(quotes)
        return Item(
            anchor=anchor,
            finding=finding,
            excerpts=tuple(
                self._excerpt(name, quotes[name], finding.check) for name in names[:MOST_SECTIONS]
            ),
            unshown=tuple(names[MOST_SECTIONS:]),
        )

    def _excerpt(self, name: str, quotes: Sequence[Quote], check: str) -> Excerpt:
        section = self._evidence.sections.get(name)
        lines = self._all_lines(name, section)
        whole = any(not quote.first for quote in quotes)
        numbers = range(1, len(lines) + 1) if whole else _numbers(quotes, len(lines))
        ranges = () if whole else _ranges(numbers)
        first = self._shown.setdefault((name, ranges), check)
        missing = Gap.NOT_COLLECTED if self._evidence.complete else Gap.LOST
        return Excerpt(
            name=name,
            row=self._rows.get(name, 0),
            section=section,
            gap=section.gap if section is not None else missing,
            ranges=ranges,
            lines=_cut(lines, numbers[:MOST_LINES]),
            more=max(0, len(numbers) - MOST_LINES),
            repeats=first if first != check and len(numbers) > 6 else "",
            errors=_errors(section),
        )

    def _all_lines(self, name: str, section: Section | None) -> list[str]:
        if name not in self._lines:
            self._lines[name] = section.lines if section is not None else []
        return self._lines[name]


def _numbers(quotes: Iterable[Quote], last: int) -> list[int]:
    """The lines quoted that exist, each once, in order."""
    return sorted(
        {
            number
            for quote in quotes
            for number in range(max(1, quote.first), min(quote.last, last) + 1)
        }
    )


def _ranges(numbers: Sequence[int]) -> tuple[str, ...]:
    """Line numbers as "3" and "5–9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return tuple("–".join(map(str, run)) for run in runs)


def _cut(lines: Sequence[str], numbers: Sequence[int]) -> tuple[Line, ...]:
    shown: list[Line] = []
    for number in numbers:
        if shown and shown[-1].number != number - 1:
            shown.append(Line(0))
        shown.append(_line(number, lines[number - 1]))
    return tuple(shown)


def _line(number: int, text: str) -> Line:
    return Line(number, text[:MOST_CHARACTERS], max(0, len(text) - MOST_CHARACTERS))


def _errors(section: Section | None) -> tuple[Line, ...]:
    """The first lines that the command wrote to standard error."""
    if section is None:
        return ()
    lines = section.stderr[:4096].decode("utf-8", "replace").strip("\n").split("\n")
    return tuple(_line(number, line) for number, line in enumerate(lines[:4], 1) if line.strip())


# ---- the page


@functools.cache
def _environment() -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        autoescape=True,
        finalize=visible,
        loader=jinja2.FunctionLoader(lambda name: _asset(f"templates/{name}")),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(results: Results, lang: str) -> bytes:
    """The results as one sealed HTML file in `lang` ("zh" or "en")."""
    say = _Speaker(lang)
    hosts = tuple(_host(report, f"h{number}") for number, report in enumerate(results.hosts, 1))
    styles = (_asset("static/report.css"), _running_heads(results, say))
    page = (
        _environment()
        .get_template("report.html")
        .render(
            counts=_counts(finding for host in results.hosts for finding in host.findings),
            csp=_policy(styles),
            hosts=hosts,
            icons=Markup(_asset("static/icons.svg")),  # noqa: S704 - our own file
            lang="zh-CN" if lang == "zh" else "en",
            results=results,
            say=say,
            stamp=_stamp,
            statuses=STATUSES,
            styles=tuple(Markup(style) for style in styles),  # noqa: S704 - our own; hosts' words escaped
            t=say.word,
            unreachable=results.unreachable,
        )
    )
    return seal.seal(page.encode())


def _running_heads(results: Results, say: _Speaker) -> str:
    """What every printed page bears at its top and foot, for pages that lose their report."""
    if len(results.hosts) == 1:
        report = results.hosts[0]
        name = report.evidence.identity.hostname or report.evidence.target
        when = report.evidence.collected_at
        foot = f"{say.word('fact.evidence')} {report.evidence_sha256}"
    else:
        name = say.word("fleet.title", n=len(results.hosts))
        when, foot = results.started_at, ""
    boxes = {
        "top-left": _css_string(f"{name[:60]} · {_stamp(when)}"),
        "top-right": _css_string(say.word("stamp")),
        "bottom-left": _css_string(foot),
        "bottom-right": 'counter(page) " / " counter(pages)',
    }
    rules = " ".join(f"@{box} {{ content: {content}; }}" for box, content in boxes.items())
    return f"@page {{ {rules} }}\n"


def _policy(styles: Iterable[str]) -> str:
    """A Content-Security-Policy that allows these style sheets and nothing else."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
        for style in styles
    )
    return f"default-src 'none'; style-src {hashes}; base-uri 'none'; form-action 'none'"
