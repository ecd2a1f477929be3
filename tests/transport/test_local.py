"""This machine read by itself: as root, as others, with and without sudo."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from testbed.machine import PASSWORDS

from audit_agent.transport import HostUnreachable, Limits
from audit_agent.transport.local import Local
from audit_agent.transport.privilege import Sudo

REPOSITORY = Path(__file__).parents[2]


def test_every_byte_comes_back():
    script = b"printf 'a\\r\\n\\000\\377'; head -c 1000000 /dev/zero; echo err >&2; cat; echo end\n"
    recording = Local(Limits()).run(script)
    assert recording.stream == b"a\r\n\0\xff" + b"\0" * 1_000_000 + b"end\n"
    assert (recording.via, recording.interrupted) == ("login", "")
    assert (recording.address, Local.target) == ("127.0.0.1", "localhost")


def test_a_large_script_goes_in():
    script = b"x() {\n# " + b"x" * 1_000_000 + b"\necho all of it\n}\nx\n"
    assert Local(Limits()).run(script).stream == b"all of it\n"


def test_the_witnesses_come_along():
    names = {section.name for section in Local(Limits()).run(b"").witnesses}
    assert names == {"witness.psutil-sockets", "witness.python-iptables"}


def test_too_slow():
    started = time.monotonic()
    slow = Local(Limits(total=0.5)).run(b"echo first; sleep 30; echo second\n")
    assert (slow.stream, slow.interrupted) == (b"first\n", "took longer than 0.5 s")
    assert time.monotonic() - started < 3


def test_too_much():
    flood = Local(Limits(size=1000)).run(b"while :; do echo xxxxxxxx; done\n")
    assert (len(flood.stream), flood.interrupted) == (1000, "sent more than 1000 bytes")


def test_killed():
    killed = Local(Limits()).run(b"echo half; kill -9 $$\n")
    assert (killed.stream, killed.interrupted) == (
        b"half\n",
        "the collector was ended by signal 9",
    )


def test_a_script_that_ends_badly():
    ended = Local(Limits()).run(b"echo half; exit 7\n")
    assert (ended.stream, ended.interrupted) == (
        b"half\n",
        "the collector's shell ended with status 7",
    )


def test_nothing_is_left_running(tmp_path):
    mark = tmp_path / "mark"
    Local(Limits(total=0.5)).run(f"(sleep 1; echo late >{mark}) & sleep 30\n".encode())
    time.sleep(1)
    assert not mark.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.root
def test_root_needs_no_sudo(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent:/usr/bin:/bin")
    recording = Local(Limits(), Sudo(ask=lambda _: pytest.fail("asked"))).run(b"id -u\n")
    assert (recording.stream, recording.via) == (b"0\n", "login")


PROGRAM = """
import sys
sys.path.insert(0, {repository!r})
from audit_agent.transport import HostUnreachable, Limits
from audit_agent.transport.local import Local
from audit_agent.transport.privilege import Sudo

def ask(prompt):
    print("asked", prompt)
    return {password!r}

try:
    recording = Local(Limits(total={total}), Sudo({ask})).run({script!r})
    print(recording.stream, recording.via, recording.interrupted)
except HostUnreachable as error:
    print(error.reason, error)
"""


@pytest.fixture
def run_as(sshd_host, tmp_path):
    """Runs Local with sudo on the test host, as one of its users."""
    if not REPOSITORY.is_relative_to("/") or not Path(sys.executable).exists():
        pytest.skip("the test host does not see this Python")

    def run(user, script=b"id -u; cat; echo end\n", password=None, total=60):
        program = tmp_path.name + ".py"
        text = PROGRAM.format(
            repository=str(REPOSITORY),
            password=password,
            ask="ask" if password else "",
            script=script,
            total=total,
        )
        sshd_host.write(f"/srv/{program}", text)
        python = Path(sys.executable)
        if not (sshd_host.root / str(python).lstrip("/")).exists():
            pytest.skip(f"a test host has a /tmp and /run of its own, and {python} lies there")
        for directory in {*python.parents, *python.resolve().parents, *REPOSITORY.parents}:
            (sshd_host.root / str(directory).lstrip("/")).chmod(0o755)
        paths = ":".join(path for path in sys.path if path.endswith("site-packages"))
        return sshd_host.run(
            "env", f"PYTHONPATH={paths}", sys.executable, "-B", f"/srv/{program}", user=user
        ).strip()

    return run


@pytest.mark.root
def test_sudo_without_a_password(run_as):
    assert run_as("audit") == r"b'0\nend\n' sudo"


@pytest.mark.root
def test_sudo_with_a_password(run_as):
    assert run_as("auditpw", password=PASSWORDS["auditpw"]) == (
        "asked [sudo] password on localhost: \n" + r"b'0\nend\n' sudo"
    )


@pytest.mark.root
@pytest.mark.parametrize(
    ("user", "password", "reason"),
    [
        ("auditpw", None, "sudo-needs-password"),
        ("auditpw", "wrong", "sudo-password-wrong"),
        ("plain", PASSWORDS["plain"], "sudo-refused"),
        ("terminal", None, "sudo-needs-tty"),
    ],
)
def test_sudo_refuses(run_as, user, password, reason):
    *asked, said = run_as(user, password=password).splitlines()
    assert said.split()[0] == reason
    assert len(asked) == bool(password)


@pytest.mark.root
def test_what_root_does_not_end_is_not_waited_for(run_as):
    """Nothing that sudo started may be killed by who called it."""
    started = time.monotonic()
    said = run_as("audit", b"echo first; sleep 60\n", total=1)
    assert said == r"b'first\n' sudo took longer than 1 s"
    assert time.monotonic() - started < 10


def test_no_shell(monkeypatch):
    def fail(*_args, **_options):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("subprocess.Popen.__init__", fail)
    with pytest.raises(HostUnreachable, match="cannot run /bin/sh") as caught:
        Local(Limits()).run(b"")
    assert caught.value.reason == "no-shell"


def test_importing_the_transports_imports_no_library_of_theirs():
    program = textwrap.dedent(
        """
        import sys
        import audit_agent.transport, audit_agent.transport.local, audit_agent.collect
        import audit_agent.transport.privilege
        print(sorted({"paramiko", "psutil", "iptc", "cryptography"} & set(sys.modules)))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
