"""The command line: the only code that prints and the only code that exits.

Commands are imported when they are run: `audit-agent --help` loads none of them.
"""

import errno
import importlib
import os
import sys
from typing import NoReturn

import click

from audit_agent import __version__
from audit_agent.cli.language import translate as _

EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_FINDINGS = 4
EXIT_DAMAGED = 5

_COMMANDS = {
    "run": ("audit_agent.cli.audit", _("Audit a host and write a report.")),
    "collect": ("audit_agent.cli.audit", _("Collect a host's evidence without judging it.")),
    "evaluate": ("audit_agent.cli.audit", _("Judge evidence that was collected earlier.")),
    "facts": ("audit_agent.cli.look", _("Print what the evidence says, as JSON.")),
    "checks": ("audit_agent.cli.look", _("List the checks, or show some of them.")),
    "verify": ("audit_agent.cli.look", _("Prove that an evidence file or a report is unchanged.")),
}

_EPILOG = _(
    "Exit status: 0 audited; 1 internal error; 2 usage or configuration; 3 incomplete (a host"
    " could not be audited, or nothing could be judged); 4 a finding at or above --fail-on;"
    " 5 verification failed."
)


class Failure(click.ClickException):
    """A foreseeable error: one line that says what and where, and one that says what to do."""

    def __init__(self, message: str, advice: str = "", exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.advice = advice
        self.status = exit_code


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, text) for name, (_module, text) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_(
        "Collects a Linux server's security evidence once, read-only, judges it, and writes a"
        " report that an inspector can read, print and verify."
    ),
)
@click.version_option(__version__, prog_name="audit-agent", message="%(prog)s %(version)s")
def cli() -> None:
    """Group of all commands."""


def emit(data: bytes | str) -> None:
    """Write a result to standard output; on a terminal without control characters.

    Raises:
        Failure: standard output is closed, or its disk is full.
        SystemExit: nobody reads it any more (head, less), which is the reader's right.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # noqa: TRY301 - as from a write
        if sys.stdout.isatty():
            text = data if isinstance(data, str) else data.decode(errors="replace")
            data = _without_controls(text)
        if isinstance(data, str):
            data = data.encode(sys.stdout.encoding, "replace")
        while data:  # with PYTHONUNBUFFERED a write may be short
            data = data[sys.stdout.buffer.write(data) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        sys.stdout = None  # what is left in its buffer would fail once more at exit
        sys.exit(141)
    except OSError as error:
        sys.stdout = None
        raise Failure(
            _("cannot write {path}: {why}").format(path=_("standard output"), why=error.strerror)
        ) from error


def _without_controls(text: str) -> str:
    """`text`, which may quote a host, in lines that are fit for a terminal."""
    from audit_agent.evidence import printable  # noqa: PLC0415 - `--help` does without

    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def main() -> NoReturn:
    """Entry point of `audit-agent`: runs a command and turns every outcome into an exit status."""
    try:
        status = cli.main(prog_name="audit-agent", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except Failure as failure:
        click.echo(f"audit-agent: {_without_controls(failure.message)}", err=True)
        if failure.advice:
            click.echo(f"  {_without_controls(failure.advice)}", err=True)
        sys.exit(failure.status)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo(_("audit-agent: stopped"), err=True)
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for users
        _internal(error)


def _internal(error: Exception) -> NoReturn:
    import tempfile  # noqa: PLC0415 - only ever needed here
    import traceback  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(
        "w", prefix="audit-agent-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exception(error, file=log)
    kind = type(error).__name__
    click.echo(_("audit-agent: internal error: {error}").format(error=f"{kind}: {error}"), err=True)
    click.echo(_("  Please report it with the details in {path}").format(path=log.name), err=True)
    sys.exit(EXIT_INTERNAL)
