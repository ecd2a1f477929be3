"""What is said to the person at the terminal: progress and summaries, on standard error."""

import contextlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable

import click

from audit_agent.cli.language import translate as _
from audit_agent.evidence import printable
from audit_agent.model import Finding, HostReport, Status, Text

STATUS_WORDS = {
    Status.FAIL: Text(en="fail", zh="不符合"),
    Status.WARN: Text(en="warn", zh="部分符合"),
    Status.UNKNOWN: Text(en="unknown", zh="无法判定"),
    Status.MANUAL: Text(en="manual", zh="需人工确认"),
    Status.ERROR: Text(en="error", zh="检查出错"),
    Status.PASS: Text(en="pass", zh="符合"),
    Status.NOT_APPLICABLE: Text(en="not applicable", zh="不适用"),
}
_COLOURS = {
    Status.FAIL: "red",
    Status.WARN: "yellow",
    Status.UNKNOWN: "magenta",
    Status.MANUAL: "cyan",
    Status.ERROR: "red",
    Status.PASS: "green",
}
_MOST = 8


class Talk:
    """Speaks to standard error: a progress line on a terminal, plain lines elsewhere."""

    def __init__(self, *, verbose: bool, quiet: bool, lang: str) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.lang = lang
        self._line = ""

    def progress(self, text: str) -> None:
        """Say what is being done now; on a terminal the next line replaces it."""
        if self.quiet:
            return
        self.clear()
        if _redraws():
            self._line = _cut(printable(text), shutil.get_terminal_size().columns // 2 - 1)
            _write(self._line)
        else:
            _write(printable(text) + "\n")

    def clear(self) -> None:
        """Take the progress line away."""
        if self._line:
            _write(f"\r{'  ' * len(self._line)}\r")  # Chinese takes two columns a character
            self._line = ""

    def say(self, text: str) -> None:
        """Say one line that stays."""
        if not self.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Say one line that stays, quiet or not."""
        self.clear()
        _write(printable(text) + "\n")

    def host(self, report: HostReport) -> None:
        """The verdict on one host and what to mend first."""
        if self.quiet:
            return
        self.clear()
        evidence = report.evidence
        who = evidence.privilege.user or "?"
        self.say(
            _("{host} ({system}), read as {user}:").format(
                host=evidence.identity.hostname or evidence.target, system=report.system, user=who
            )
        )
        _write(f"  {self._counts(report.findings)}\n")
        if not evidence.privilege.root:
            self.say(_("  Read without root: what only root can see is unknown. Try --sudo."))
        if not evidence.complete or evidence.interrupted:
            self.say(_("  The collection is incomplete: {why}").format(why=evidence.interrupted))
        self._first(report.findings)

    def _counts(self, findings: Iterable[Finding]) -> str:
        counts = Counter(finding.status for finding in findings)
        return ", ".join(
            click.style(f"{counts[status]} {word.in_(self.lang)}", fg=_COLOURS.get(status))
            for status, word in STATUS_WORDS.items()
            if counts[status]
        )

    def _first(self, findings: Iterable[Finding]) -> None:
        bad = mend_first(findings)
        if not bad:
            return
        self.say(_("  Mend first:"))
        for finding in bad[:_MOST]:
            word = click.style(
                STATUS_WORDS[finding.status].in_(self.lang), fg=_COLOURS[finding.status]
            )
            text = printable(finding.summary.in_(self.lang))
            _write(f"    {finding.check}  {word}  {_cut(text, 110)}\n")
        if len(bad) > _MOST:
            self.say(_("    … and {count} more in the report").format(count=len(bad) - _MOST))


def mend_first(findings: Iterable[Finding]) -> list[Finding]:
    """The failed and partly failed findings, worst first."""
    order = [Status.FAIL, Status.WARN]
    return sorted(
        (finding for finding in findings if finding.status in order),
        key=lambda finding: (order.index(finding.status), -finding.severity.rank),
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _write(text: str) -> None:
    """Write to standard error; that nobody can read it there is no reason to stop an audit.

    NO_COLOR (no-color.org) switches colours off; else click asks the terminal.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    with contextlib.suppress(OSError):
        click.echo(text, nl=False, err=True, color=False if plain else None)


def _redraws() -> bool:
    """Whether standard error is a terminal that can take a line back."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
