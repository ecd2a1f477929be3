"""The commands that look without auditing: facts, checks, verify."""

from pathlib import Path

import click

from audit_agent import evidence, plugins, seal
from audit_agent.cli import EXIT_DAMAGED, Failure, emit
from audit_agent.cli.audit import load_evidence
from audit_agent.cli.language import locale_language
from audit_agent.cli.language import translate as _
from audit_agent.cli.options import chosen
from audit_agent.engine import Check
from audit_agent.facts import Host
from audit_agent.facts.document import document


@click.command(help=_("Print what the evidence says, as JSON (schema audit-agent/facts/1)."))
@click.argument("path", metavar="EVIDENCE", type=click.Path(path_type=Path, allow_dash=True))
def facts(path: Path) -> int:
    """Print the typed facts of one host."""
    try:
        found = load_evidence(path)
    except (evidence.EvidenceDamaged, evidence.StreamError) as error:
        raise Failure(f"{path}: {error}", exit_code=EXIT_DAMAGED) from error
    emit(document(Host(found)))
    return 0


@click.command(help=_("List the checks, or show those named, by id or area."))
@click.argument("names", nargs=-1, metavar="[CHECK|AREA]...")
@click.option("--lang", type=click.Choice(["zh", "en"]), default=locale_language)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "md"]),
    default="text",
    show_default=True,
    help=_("md prints the whole catalogue as a document."),
)
def checks(names: tuple[str, ...], lang: str, format_: str) -> int:
    """List and show the controls."""
    known = plugins.checks()
    wanted = chosen(names, known)
    found = [check for check in known if {check.id, check.area} & wanted]
    if format_ == "md":
        emit(_document(found or known, lang) + "\n")
    elif names:
        emit("\n\n".join(_show(check, lang) for check in found) + "\n")
    else:
        rows = [f"{c.id:8}{c.severity:10}{c.area:10}{c.title.in_(lang)}\n" for c in known]
        emit("".join(rows))
    return 0


def _show(check: Check, lang: str) -> str:
    lines = [
        f"{check.id}  {check.title.in_(lang)}",
        f"  {check.area_title.in_(lang)}; {check.severity}; {check.basis}",
        f"  {check.why.in_(lang)}",
        _("  Expected: {text}").format(text=check.expected.in_(lang)),
    ]
    lines += [
        f"  {cite.title.in_(lang)} {cite.clause} [{cite.kind}, {cite.grade}]"
        for cite in check.citations
    ]
    return "\n".join(lines)


def _document(found: list[Check], lang: str) -> str:
    """The catalogue as Markdown, one heading a check; docs/checks.md is its output."""
    zh = lang == "zh"
    parts = ["# 检查项目录" if zh else "# Catalogue of checks"]
    area = ""
    for check in found:
        if check.area != area:
            area = check.area
            parts.append(f"## {check.area_title.in_(lang)}")
        cites = "; ".join(
            f"{cite.title.in_(lang)} {cite.clause} ({cite.kind}, {cite.grade})".replace("  ", " ")
            for cite in check.citations
        )
        rows = [
            ("严重程度" if zh else "Severity", str(check.severity)),
            ("判定依据" if zh else "Decided by", check.basis.replace("*", "\\*")),
            ("期望" if zh else "Expected", check.expected.in_(lang)),
            ("引用" if zh else "Citations", cites or "–"),
        ]
        table = "\n".join(f"| {name} | {value} |" for name, value in rows)
        parts.append(f"### {check.id} {check.title.in_(lang)}\n\n{check.why.in_(lang)}")
        parts.append(f"| | |\n| --- | --- |\n{table}")
    return "\n\n".join(parts)


@click.command(help=_("Recompute every hash of an evidence file, or the seal of a report."))
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def verify(path: Path) -> int:
    """Prove that a file is what it was when it was sealed."""
    try:
        with path.open("rb") as file:
            data = file.read(4)
        if data == b"PK\x03\x04":
            found = evidence.load(path)
            said = _(
                "{path}: unchanged since it was sealed; {count} sections of {host}, {when}"
            ).format(
                path=path,
                count=len(found.sections),
                host=evidence.printable(found.identity.hostname),
                when=found.collected_at.isoformat(),
            )
            emit(f"{said}\nsha256 {evidence.digest(found)}\n")
            return 0
        digest = seal.verify(path.read_bytes())
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    except (evidence.EvidenceDamaged, seal.SealBroken) as error:
        raise Failure(f"{path}: {error}", exit_code=EXIT_DAMAGED) from error
    said = _("{path}: unchanged since it was sealed").format(path=path)
    emit(f"{said}\nsha256 {digest}\n")
    return 0
