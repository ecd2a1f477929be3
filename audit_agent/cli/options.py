"""Options that several commands share, and what they mean."""

import functools
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from msgspec import Struct

from audit_agent import evidence, plugins
from audit_agent.cli import Failure, emit
from audit_agent.cli.language import locale_language
from audit_agent.cli.language import translate as _
from audit_agent.cli.talk import Talk
from audit_agent.engine import Check
from audit_agent.model import Finding, Results, Severity, Status
from audit_agent.transport import Limits, Transport
from audit_agent.transport.privilege import Sudo

Command = Callable[..., Any]


class Reporting(Struct, frozen=True):
    """Which checks to judge, and how and where to report."""

    output: Path | None
    format: str
    lang: str
    only: tuple[str, ...]
    skip: tuple[str, ...]
    fail_on: Severity | None

    def select(self, checks: Sequence[Check]) -> list[Check]:
        """The checks that --only and --skip leave, by id or area."""
        only = chosen(self.only, checks)
        skip = chosen(self.skip, checks)
        selected = [
            check
            for check in checks
            if (not only or {check.id, check.area} & only) and not {check.id, check.area} & skip
        ]
        if not selected:
            raise Failure(_("--only and --skip leave no check to judge"))
        return selected

    def ready(self) -> None:
        """Refuse an output that cannot be written before anything is read for it."""
        require_writable(self.output)

    def beside(self, name: str) -> Path | None:
        """Where a file goes that belongs to the report; nowhere if that is not kept as a file."""
        if self.output is None:
            return Path(name)
        if self.output.is_dir():
            return self.output / name
        if str(self.output) == "-" or (self.output.exists() and not self.output.is_file()):
            return None
        return self.output.parent / name

    def write(self, results: Results, name: str) -> Path | None:
        """Render and write the report; None when it went to standard output."""
        data = plugins.renderer(self.format)(results, self.lang)
        if str(self.output) == "-":
            emit(data)
            return None
        path = self.output or Path(name)
        if path.is_dir():
            path /= name
        try:
            evidence.write_atomically(path, data, mode=0o644 & ~_umask())
        except OSError as error:
            raise Failure(
                _("cannot write {path}: {why}").format(path=path, why=error.strerror)
            ) from error
        return path

    def reached(self, results: Results) -> bool:
        """Whether a failed finding is at or above --fail-on."""
        if self.fail_on is None:
            return False
        return any(self._counts(finding) for host in results.hosts for finding in host.findings)

    def _counts(self, finding: Finding) -> bool:
        least = self.fail_on.rank if self.fail_on is not None else 0
        return finding.status is Status.FAIL and finding.severity.rank >= least


def require_writable(path: Path | None) -> None:
    """Refuse a file (or folder) that nothing can be written to; None is the current folder."""
    if path is not None and str(path) == "-":
        return
    place = path or Path()
    folder = place if place.is_dir() else place.resolve().parent
    if place.exists() and not place.is_file() and not place.is_dir():
        return  # a device or a pipe
    if not folder.is_dir():
        why = _("there is no folder {folder}").format(folder=folder)
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = _("the folder {folder} is not writable").format(folder=folder)
    else:
        return
    raise Failure(_("cannot write {path}: {why}").format(path=place, why=why))


def chosen(names: Sequence[str], checks: Sequence[Check]) -> set[str]:
    """The ids and areas that the user named, in whatever case, as the checks write them.

    Raises:
        Failure: there is no check or area of that name.
    """
    known = {check.id for check in checks} | {check.area for check in checks}
    canonical = {name: name.upper() if "-" in name else name.lower() for name in names}
    for name, written in canonical.items():
        if written not in known:
            raise Failure(
                _("there is no check or area {name!r}").format(name=name),
                _("`audit-agent checks` lists them."),
            )
    return set(canonical.values())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class Connection(Struct, frozen=True):
    """How to reach a host, and with what privilege to read it."""

    sudo: bool
    ask_sudo_password: bool
    accept_new_host_key: bool
    ssh_config: Path | None
    identity: tuple[Path, ...]
    timeout: int

    def transport(self, target: str) -> Transport:
        """The transport for TARGET: this machine for "localhost", else SSH."""
        limits = Limits(total=self.timeout)
        if target == "localhost":
            from audit_agent.transport.local import Local  # noqa: PLC0415 - one of two is needed

            return Local(limits, self._privilege())
        from audit_agent.transport.ssh import Ssh, SshOptions  # noqa: PLC0415 - paramiko is slow

        options = SshOptions(
            config_file=self.ssh_config,
            identities=self.identity,
            accept_new_host_key=self.accept_new_host_key,
            ask=_ask if _has_terminal() else None,
        )
        try:
            return Ssh(target, limits, options, self._privilege())
        except ValueError as error:
            raise Failure(str(error)) from error

    def _privilege(self) -> Sudo | None:
        if self.ask_sudo_password:
            return Sudo(ask=_ask)
        return Sudo() if self.sudo else None


def _ask(prompt: str) -> str:
    """A secret from the terminal, or from a pipe where there is none."""
    if _has_terminal():
        return getpass.getpass(evidence.printable(prompt))
    return sys.stdin.readline().rstrip("\n") if sys.stdin is not None else ""


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _complete_names(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    found = plugins.checks()
    items = [CompletionItem(check.id, help=check.title.en) for check in found]
    items += [CompletionItem(area) for area in sorted({check.area for check in found})]
    return [item for item in items if item.value.lower().startswith(incomplete.lower())]


def connection_options(command: Command) -> Command:
    """Add the options of `Connection`."""

    @click.option("--sudo", is_flag=True, help=_("Read as root through sudo, without a password."))
    @click.option(
        "-K",
        "--ask-sudo-password",
        is_flag=True,
        help=_("Read as root through sudo; ask for the password and send it only if sudo does."),
    )
    @click.option(
        "--accept-new-host-key",
        is_flag=True,
        help=_(
            "Accept and remember the key of a host that is not known yet (never a changed one)."
        ),
    )
    @click.option(
        "-F",
        "--ssh-config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=_("Use this ssh_config file instead of ~/.ssh/config."),
    )
    @click.option(
        "-i",
        "--identity",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=_("A private key to log in with; may be repeated."),
    )
    @click.option(
        "--timeout",
        type=click.IntRange(1, 86400),
        default=180,
        show_default=True,
        metavar="SECONDS",
        help=_("The most that collecting from the host may take."),
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        sudo: bool,
        ask_sudo_password: bool,
        accept_new_host_key: bool,
        ssh_config: Path | None,
        identity: tuple[Path, ...],
        timeout: int,
        **rest: Any,
    ) -> Any:
        connection = Connection(
            sudo=sudo,
            ask_sudo_password=ask_sudo_password,
            accept_new_host_key=accept_new_host_key,
            ssh_config=ssh_config,
            identity=identity,
            timeout=timeout,
        )
        return command(*args, connection=connection, **rest)

    return wrapper


def reporting_options(command: Command) -> Command:
    """Add the options of `Reporting`."""

    @click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, allow_dash=True),
        help=_("Where to write the report; - is standard output."),
    )
    @click.option(
        "--format",
        "format_",
        type=click.Choice(plugins.formats()),
        default="html",
        show_default=True,
        help=_("The report's format."),
    )
    @click.option(
        "--lang",
        type=click.Choice(["zh", "en"]),
        default=locale_language,
        help=_("The report's language (default: the locale's)."),
    )
    @click.option(
        "--only",
        multiple=True,
        metavar="CHECK|AREA",
        shell_complete=_complete_names,
        help=_("Judge only this check or area; may be repeated."),
    )
    @click.option(
        "--skip",
        multiple=True,
        metavar="CHECK|AREA",
        shell_complete=_complete_names,
        help=_("Leave this check or area out; may be repeated."),
    )
    @click.option(
        "--fail-on",
        type=click.Choice([severity.value for severity in Severity]),
        help=_("Exit with 4 when a check of at least this severity fails."),
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        output: Path | None,
        format_: str,
        lang: str,
        only: tuple[str, ...],
        skip: tuple[str, ...],
        fail_on: str | None,
        **rest: Any,
    ) -> Any:
        reporting = Reporting(
            output=output,
            format=format_,
            lang=lang,
            only=only,
            skip=skip,
            fail_on=Severity(fail_on) if fail_on else None,
        )
        return command(*args, reporting=reporting, **rest)

    return wrapper


def talk_options(command: Command) -> Command:
    """Add -v and -q."""

    @click.option(
        "-v", "--verbose", is_flag=True, help=_("Say what was read, and how long it took.")
    )
    @click.option("-q", "--quiet", is_flag=True, help=_("Say nothing but errors."))
    @functools.wraps(command)
    def wrapper(*args: Any, verbose: bool, quiet: bool, **rest: Any) -> Any:
        reporting = rest.get("reporting")
        lang = reporting.lang if isinstance(reporting, Reporting) else locale_language()
        return command(*args, talk=Talk(verbose=verbose, quiet=quiet, lang=lang), **rest)

    return wrapper
