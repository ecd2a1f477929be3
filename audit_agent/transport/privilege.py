"""How the collector comes to run, as root where that was asked for: what is said before the script.

No program gets the script before it has proved to be a POSIX shell, by working out a sum: not a
switch's command line, not a forced command, not a sudo that waits for a password. The password
goes over standard input only, only when sudo asks for it, and once: a second question means that
it was wrong, and a second answer might lock the account.
"""

import re
import secrets

from msgspec import Struct

from audit_agent.transport import Ask, HostUnreachable

_WITHOUT = "or run without --sudo: what only root can read is then reported as unknown"
_KEPT = 64 * 1024
"""How much of what a host says before the script is kept, in bytes."""


class Sudo(Struct, frozen=True):
    """Read the host as root through sudo.

    `ask` gives the password when sudo wants one, and is not called otherwise; None means that
    sudo must not want one (`sudo -n`).
    """

    ask: Ask | None = None


class Opening:
    """The talk up to the point where a shell waits for the script.

    It does no I/O: start `command` with a POSIX shell, `hear` what comes back and send what that
    returns, until `begun`. `via` is then "login" or "sudo", and `rest` holds what already belongs
    to the script's output.
    """

    def __init__(self, name: str, sudo: Sudo | None) -> None:
        self._name = name
        self._sudo = sudo
        first, second = secrets.randbelow(10**9), secrets.randbelow(10**9)
        token = secrets.token_hex(8)
        # Neither the mark nor the prompt stands in the command as such, so a device that only
        # echoes what it was told cannot be taken for a shell, nor be given a password.
        self._mark = re.compile(rb"audit-agent-%d (login|sudo|asks-sudo)\r?\n" % (first + second))
        self._prompt = f"audit-agent%{token}:".encode()
        self.command = _command(f"audit-agent-$(({first}+{second}))", token, sudo)
        self.begun = False
        self.via = "login"
        self.rest = b""
        self._stdout = b""
        self._stderr = b""
        self._shell = False
        self._answered = False

    def hear(self, stdout: bytes, stderr: bytes) -> bytes:
        """Take what the host said; returns what to send it, mostly nothing.

        Raises:
            HostUnreachable: sudo refuses the password.
        """
        self._stderr = (self._stderr + stderr)[-_KEPT:]
        self._stdout = (self._stdout + stdout)[-_KEPT - len(stdout) :]
        while not self.begun and (mark := self._mark.search(self._stdout)):
            self._shell = True
            self._stdout = self._stdout[mark.end() :]
            if mark[1] != b"asks-sudo":
                self.begun, self.via, self.rest = True, mark[1].decode(), self._stdout
        if self.begun or not self._shell or self._prompt not in self._stderr:
            return b""
        self._stderr = self._stderr.replace(self._prompt, b"", 1)
        return self._password()

    def _password(self) -> bytes:
        if self._answered or self._sudo is None or self._sudo.ask is None:
            raise self._wrong_password()
        self._answered = True
        password = self._sudo.ask(f"[sudo] password on {self._name}: ").partition("\n")[0]
        if not password:
            raise HostUnreachable(
                "sudo-needs-password",
                f"{self._name}: sudo asks for a password and none was given",
                f"give the password, {_WITHOUT}",
            )
        return f"{password}\n".encode()

    def _wrong_password(self) -> HostUnreachable:
        return HostUnreachable(
            "sudo-password-wrong",
            f"{self._name}: sudo did not accept the password (it was tried once)",
            "try again with the password of the user who logs in there",
        )

    def refusal(self) -> HostUnreachable:
        """Why it ended before a shell waited for the script."""
        if not self._shell:
            return HostUnreachable(
                "shell-refused",
                f"{self._name}: the login does not lead to a POSIX shell{self._said()}",
                "log in with a user whose shell runs commands, without a forced command",
            )
        for pattern, reason, sentence, advice in _SUDO_SAYS:
            if re.search(pattern, self._stderr):
                return HostUnreachable(reason, f"{self._name}: {sentence}", advice)
        if self._answered and re.search(rb"incorrect password|try again", self._stderr):
            return self._wrong_password()
        return HostUnreachable(
            "sudo-refused",
            f"{self._name}: sudo does not let this user run /bin/sh as root{self._said()}",
            f"allow it in sudoers, {_WITHOUT}",
        )

    def silence(self, seconds: float) -> HostUnreachable:
        """Why it did not end, but went on for more than `seconds`."""
        return HostUnreachable(
            "timeout-first-byte",
            f"{self._name}: logged in, but no shell was ready within {seconds:g} s{self._said()}",
            "look for login scripts or PAM modules that hang"
            if not self._shell
            else f"see what sudo waits for there, {_WITHOUT}",
        )

    def _said(self) -> str:
        """The last line that the host wrote, for the user to read."""
        lines = (self._stderr.strip() or self._stdout.strip()).splitlines()
        if not lines:
            return ""
        line = "".join(c if c.isprintable() else "?" for c in lines[-1].decode("utf-8", "replace"))
        return f" (it says: {line.strip()[:160]})"


_SUDO_SAYS = (
    (
        rb"must have a tty",
        "sudo-needs-tty",
        "sudo there wants a terminal (requiretty)",
        f'put "Defaults:USER !requiretty" into its sudoers, {_WITHOUT}',
    ),
    (
        rb"password is required|no password was provided|terminal is required",
        "sudo-needs-password",
        "sudo asks for a password",
        f"use --ask-sudo-password, {_WITHOUT}",
    ),
    (
        rb"sudo: (?:command )?not found|sudo: inaccessible or not found",
        "sudo-refused",
        "sudo is not installed there",
        f"log in as root, {_WITHOUT}",
    ),
)


def _command(mark: str, token: str, sudo: Sudo | None) -> str:
    """The command, quoted so that csh and fish pass it on as sh does.

    It holds no backslash and no exclamation mark, and quotes of one kind only inside the other.
    """
    # Standard error is nobody's once the script runs: every section keeps its own.
    shell = "exec /bin/sh -s 2>/dev/null"
    if sudo is None:
        return f"/bin/sh -c 'echo {mark} login; {shell}'"
    how = "-n" if sudo.ask is None else f"-S -p audit-agent%%{token}:"
    return (
        f'/bin/sh -c \'if [ "$(id -u)" = 0 ]; then echo {mark} login; {shell}; fi; '
        f"echo {mark} asks-sudo; LC_ALL=C; LANGUAGE=C; export LC_ALL LANGUAGE; "
        f'exec sudo {how} /bin/sh -c "echo {mark} sudo; {shell}"\''
    )
