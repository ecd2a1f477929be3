"""Reading a remote host as root: sudo with and without a password, and its refusals."""

import time

import pytest
from testbed.machine import PASSWORDS

from audit_agent.transport import Limits
from audit_agent.transport.privilege import Sudo

pytestmark = pytest.mark.root

WHO = b"id -u; cat; echo end\n"


@pytest.fixture(autouse=True)
def known(client, sshd_host):
    client.trust(sshd_host)


def never(prompt):
    raise AssertionError(prompt)


@pytest.mark.parametrize("sudo", [Sudo(), Sudo(ask=never)])
def test_without_a_password(reach, sshd_host, sudo):
    recording = reach(f"audit@{sshd_host.address}", WHO, sudo=sudo)
    assert (recording.stream, recording.via) == (b"0\nend\n", "sudo")


@pytest.mark.parametrize("sudo", [Sudo(), Sudo(ask=never)])
def test_who_is_root_needs_no_sudo(reach, sshd_host, sudo):
    binary = sshd_host.root / "usr/bin/sudo"
    binary.rename(binary.with_suffix(".away"))
    try:
        recording = reach(f"root@{sshd_host.address}", WHO, sudo=sudo)
    finally:
        binary.with_suffix(".away").rename(binary)
    assert (recording.stream, recording.via) == (b"0\nend\n", "login")


def test_with_a_password(reach, sshd_host, answers):
    ask = answers(PASSWORDS["auditpw"])
    recording = reach(f"auditpw@{sshd_host.address}", WHO, sudo=Sudo(ask))
    assert (recording.stream, recording.via) == (b"0\nend\n", "sudo")
    assert ask.asked == [f"[sudo] password on auditpw@{sshd_host.address}: "]


def test_the_password_is_nowhere_to_be_seen(reach, sshd_host, answers):
    """Not among the arguments, nor in the environment, of any process."""
    look = b"cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'\n"
    ask = answers(PASSWORDS["auditpw"])
    seen = reach(f"auditpw@{sshd_host.address}", look, sudo=Sudo(ask)).stream
    assert b"sudo" in seen
    assert PASSWORDS["auditpw"].encode() not in seen


def test_a_wrong_password_is_tried_once(reach, sshd_host, answers):
    ask = answers("wrong")
    before = sshd_host.log().count("authentication failure")
    refused = reach.unreachable(f"auditpw@{sshd_host.address}", sudo=Sudo(ask))
    assert refused.reason == "sudo-password-wrong"
    assert len(ask.asked) == 1
    assert sshd_host.log().count("authentication failure") - before <= 1


@pytest.mark.parametrize("tries", [1, 3])
def test_a_wrong_password_whatever_sudo_allows(reach, sshd_host, answers, tries):
    sudoers = (sshd_host.root / "etc/sudoers").read_text()
    sshd_host.write("/etc/sudoers", f"Defaults passwd_tries={tries}\n{sudoers}", 0o440)
    try:
        refused = reach.unreachable(f"auditpw@{sshd_host.address}", sudo=Sudo(answers("wrong")))
    finally:
        sshd_host.write("/etc/sudoers", sudoers, 0o440)
    assert refused.reason == "sudo-password-wrong"


def test_a_password_that_was_not_offered(reach, sshd_host):
    refused = reach.unreachable(f"auditpw@{sshd_host.address}", sudo=Sudo())
    assert refused.reason == "sudo-needs-password"
    assert "--ask-sudo-password" in refused.advice
    assert "without --sudo" in refused.advice


def test_who_may_not_use_sudo(reach, sshd_host, answers):
    target = f"plain@{sshd_host.address}"
    refused = reach.unreachable(target, sudo=Sudo(answers(PASSWORDS["plain"])))
    assert refused.reason == "sudo-refused"
    assert "not in the sudoers file" in str(refused)
    assert "without --sudo" in refused.advice


def test_a_terminal_is_required(reach, sshd_host):
    refused = reach.unreachable(f"terminal@{sshd_host.address}", sudo=Sudo())
    assert refused.reason == "sudo-needs-tty"
    assert "requiretty" in refused.advice


def test_no_sudo_there(reach, sshd_host):
    binary = sshd_host.root / "usr/bin/sudo"
    binary.rename(binary.with_suffix(".away"))
    try:
        refused = reach.unreachable(f"audit@{sshd_host.address}", sudo=Sudo())
    finally:
        binary.with_suffix(".away").rename(binary)
    assert refused.reason == "sudo-refused"
    assert "not installed" in str(refused)


def test_only_the_shell_is_allowed(reach, sshd_host):
    sudoers = (sshd_host.root / "etc/sudoers").read_text()
    sshd_host.write("/etc/sudoers", f"{sudoers}\nplain ALL=NOPASSWD: /bin/sh\n", 0o440)
    try:
        recording = reach(f"plain@{sshd_host.address}", WHO, sudo=Sudo())
    finally:
        sshd_host.write("/etc/sudoers", sudoers, 0o440)
    assert recording.stream == b"0\nend\n"


def test_a_pseudo_terminal_of_sudos_own_changes_no_byte(reach, sshd_host):
    sudoers = (sshd_host.root / "etc/sudoers").read_text()
    sshd_host.write("/etc/sudoers", f"Defaults use_pty\n{sudoers}", 0o440)
    script = b"printf 'a\\nb\\r\\n\\000\\377\\004end'\n"
    try:
        recording = reach(f"audit@{sshd_host.address}", script, sudo=Sudo())
    finally:
        sshd_host.write("/etc/sudoers", sudoers, 0o440)
    assert recording.stream == b"a\nb\r\n\0\xff\4end"


def test_the_time_to_type_does_not_count(reach, sshd_host):
    def ask(_prompt):
        time.sleep(1.5)
        return PASSWORDS["auditpw"]

    limits = Limits(first_byte=1.4, total=1.4)
    target = f"auditpw@{sshd_host.address}"
    assert reach(target, WHO, sudo=Sudo(ask), limits=limits).stream == b"0\nend\n"


def test_a_sudo_that_asks_for_something_else(reach, sshd_host):
    pam = (sshd_host.root / "etc/pam.d/sudo").read_text()
    sshd_host.write("/etc/pam.d/sudo", f"auth optional pam_exec.so quiet /bin/sleep 30\n{pam}")
    started = time.monotonic()
    try:
        stuck = reach.unreachable(
            f"auditpw@{sshd_host.address}", sudo=Sudo(never), limits=Limits(first_byte=1)
        )
    finally:
        sshd_host.write("/etc/pam.d/sudo", pam)
    assert stuck.reason == "timeout-first-byte"
    assert "sudo" in stuck.advice
    assert time.monotonic() - started < 4
