"""The talk before the script, without any host: what is sent, and when."""

import re
import subprocess

import pytest

from audit_agent.transport import HostUnreachable
from audit_agent.transport.privilege import Opening, Sudo


def mark_of(opening: Opening) -> bytes:
    """The word that a shell would work out."""
    first, second = re.search(r"\$\(\((\d+)\+(\d+)\)\)", opening.command).groups()
    return f"audit-agent-{int(first) + int(second)}".encode()


def prompt_of(opening: Opening) -> bytes:
    return re.search(r"-p (\S+)", opening.command)[1].replace("%%", "%").encode()


def test_a_shell_proves_itself():
    opening = Opening("web", None)
    assert opening.hear(b"Welcome!\nno newline", b"noise") == b""
    assert not opening.begun
    opening.hear(mark_of(opening)[:9], b"")
    opening.hear(mark_of(opening)[9:] + b" login\nAUDIT", b"")
    assert (opening.begun, opening.via, opening.rest) == (True, "login", b"AUDIT")


@pytest.mark.parametrize("sudo", [None, Sudo(), Sudo(ask=lambda _: "secret")])
def test_an_echo_is_not_a_shell_and_gets_no_password(sudo):
    opening = Opening("web", sudo)
    echo = opening.command.encode()
    assert opening.hear(echo + b"\r\n" + echo, echo) == b""
    assert not opening.begun
    assert opening.refusal().reason == "shell-refused"


def test_the_mark_of_another_talk_means_nothing():
    opening = Opening("web", None)
    opening.hear(mark_of(Opening("web", None)) + b" login\n", b"")
    assert not opening.begun


def test_the_password_goes_once_and_only_when_asked_for():
    asked = []
    opening = Opening("web", Sudo(ask=lambda prompt: asked.append(prompt) or "secret"))
    mark, prompt = mark_of(opening), prompt_of(opening)
    assert opening.hear(b"", prompt) == b"", "before a shell has said that it asks sudo"
    assert not asked
    assert opening.hear(mark + b" asks-sudo\n", b"") == b"secret\n"
    assert opening.hear(b"", b"Sorry, try again.\n") == b""
    with pytest.raises(HostUnreachable) as caught:
        opening.hear(b"", prompt)
    assert caught.value.reason == "sudo-password-wrong"
    assert len(asked) == 1


def test_a_shell_that_traces_its_commands_is_not_asking():
    """Here `set -x` shows the prompt, but sudo does not ask, and a shell would get the password."""
    opening = Opening("web", Sudo(ask=lambda _: pytest.fail("asked")))
    trace = b"+ " + opening.command.encode() + b"\n"
    assert opening.hear(mark_of(opening) + b" asks-sudo\n", trace) == b""
    assert opening.hear(mark_of(opening) + b" sudo\n", trace) == b""
    assert opening.begun


def test_no_password_where_none_is_wanted():
    opening = Opening("web", Sudo(ask=lambda _: pytest.fail("asked")))
    opening.hear(mark_of(opening) + b" asks-sudo\n" + mark_of(opening) + b" sudo\n", b"")
    assert (opening.begun, opening.via) == (True, "sudo")


def test_only_one_line_is_ever_a_password():
    opening = Opening("web", Sudo(ask=lambda _: "secret\nrm -rf /"))
    opening.hear(mark_of(opening) + b" asks-sudo\n", b"")
    assert opening.hear(b"", prompt_of(opening)) == b"secret\n"


def test_an_empty_answer_is_not_sent():
    opening = Opening("web", Sudo(ask=lambda _: ""))
    opening.hear(mark_of(opening) + b" asks-sudo\n", b"")
    with pytest.raises(HostUnreachable) as caught:
        opening.hear(b"", prompt_of(opening))
    assert caught.value.reason == "sudo-needs-password"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"sudo: a password is required\n", "sudo-needs-password"),
        (b"sudo: no tty present and no askpass program specified\n", "sudo-refused"),
        (b"sudo: a terminal is required to read the password; ...\n", "sudo-needs-password"),
        (b"sudo: sorry, you must have a tty to run sudo\n", "sudo-needs-tty"),
        (b"/bin/sh: 1: exec: sudo: not found\n", "sudo-refused"),
        (b"plain is not in the sudoers file.\n", "sudo-refused"),
        (b"Sorry, user x is not allowed to execute '/bin/sh' as root on y.\n", "sudo-refused"),
        (b"", "sudo-refused"),
    ],
)
def test_what_sudo_says(said, reason):
    opening = Opening("web", Sudo())
    opening.hear(mark_of(opening) + b" asks-sudo\n", said)
    refusal = opening.refusal()
    assert refusal.reason == reason
    assert "without --sudo" in refusal.advice


def test_a_single_wrong_attempt_may_be_all_that_sudo_allows():
    opening = Opening("web", Sudo(ask=lambda _: "wrong"))
    opening.hear(mark_of(opening) + b" asks-sudo\n", prompt_of(opening))
    opening.hear(b"", b"\nsudo: 1 incorrect password attempt\n")
    assert opening.refusal().reason == "sudo-password-wrong"


def test_what_a_host_says_cannot_reach_the_terminal():
    opening = Opening("web", None)
    opening.hear(b"\x1b]0;owned\x07\x1b[2J", b"")
    assert "\x1b" not in str(opening.refusal())
    assert "?]0;owned??[2J" in str(opening.refusal())


def test_endless_noise_is_not_kept():
    opening = Opening("web", None)
    for _ in range(100):
        opening.hear(b"x" * 65536, b"y" * 65536)
    opening.hear(mark_of(opening) + b" login\n", b"")
    assert opening.begun


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "mksh", "ksh", "tcsh", "fish"])
@pytest.mark.parametrize("sudo", [None, Sudo(), Sudo(ask=lambda _: "secret")])
def test_login_shells_pass_the_command_on(shell, sudo, tmp_path):
    """With a sudo of ours that only runs what it is given."""
    fake = tmp_path / "sudo"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec "$@"\n')
    fake.chmod(0o755)
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    opening = Opening("web", sudo)
    try:
        done = subprocess.run(
            [shell, "-c", opening.command],
            input=b"echo script; exit 3\n",
            capture_output=True,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)},
            check=False,
        )
    except FileNotFoundError:
        pytest.skip(f"{shell} is not installed")
    opening.hear(done.stdout, done.stderr)
    assert (opening.begun, opening.rest, done.returncode) == (True, b"script\n", 3)
    assert opening.via == ("sudo" if sudo else "login")
