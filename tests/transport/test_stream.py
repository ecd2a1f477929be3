"""What comes back: all of it, or what came before it broke off, and never more than allowed."""

import os
import signal
import threading
import time

import pytest

from audit_agent import collect
from audit_agent.transport import Limits
from audit_agent.transport.privilege import Sudo
from audit_agent.transport.ssh import Ssh, SshOptions

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def known(client, sshd_host):
    client.trust(sshd_host)


def test_every_byte_comes_back(reach, sshd_host):
    script = b"printf 'a\\r\\n\\000\\377\\033[1m'; head -c 5000000 /dev/zero; printf end\n"
    stream = reach(f"plain@{sshd_host.address}", script).stream
    assert stream == b"a\r\n\0\xff\x1b[1m" + b"\0" * 5_000_000 + b"end"


def test_a_large_script_goes_in(reach, sshd_host):
    script = b"x() {\n" + b"# " + b"x" * 5_000_000 + b"\n" + b"echo all of it\n}\nx\n"
    assert reach(f"plain@{sshd_host.address}", script).stream == b"all of it\n"


def test_standard_error_does_not_block(reach, sshd_host):
    script = b"head -c 5000000 /dev/zero >&2; echo done\n"
    assert reach(f"plain@{sshd_host.address}", script).stream == b"done\n"


def test_noise_before_the_script_is_left_out(reach, sshd_host):
    assert reach(f"noisy@{sshd_host.address}").stream == b"hello from noisy\n"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("nologin", "not available"),
        ("perl", ""),
        ("forced", "host"),
    ],
)
@pytest.mark.parametrize("sudo", [None, Sudo(), Sudo(ask=lambda _: "secret")])
def test_no_shell_there(reach, sshd_host, user, said, sudo):
    refused = reach.unreachable(f"{user}@{sshd_host.address}", sudo=sudo)
    assert refused.reason == "shell-refused"
    assert said in str(refused)


def test_a_session_that_the_host_does_not_open(reach, sshd_host):
    sshd_host.serve("MaxSessions 0")
    try:
        refused = reach.unreachable(f"plain@{sshd_host.address}")
    finally:
        sshd_host.serve()
    assert refused.reason == "shell-refused"


def test_login_scripts_that_hang(reach, sshd_host):
    started = time.monotonic()
    slow = reach.unreachable(f"slow@{sshd_host.address}", limits=Limits(first_byte=1))
    assert slow.reason == "timeout-first-byte"
    assert "login scripts" in slow.advice
    assert time.monotonic() - started < 3


def test_too_slow(reach, sshd_host):
    started = time.monotonic()
    script = b"echo first; sleep 30; echo second\n"
    slow = reach(f"plain@{sshd_host.address}", script, limits=Limits(total=1.5))
    assert (slow.stream, slow.interrupted) == (b"first\n", "took longer than 1.5 s")
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("redirect", [b"", b">&2"])
def test_a_flood(reach, sshd_host, redirect):
    script = b"exec 2>/proc/$PPID/fd/2\nwhile :; do echo xxxxxxxxxxxxxxxxxxxxxxxx " + redirect
    limits = Limits(size=1_000_000, total=20 if not redirect else 2)
    flood = reach(f"root@{sshd_host.address}", script + b"; done\n", limits=limits)
    if redirect:
        assert flood.interrupted == "took longer than 2 s"
    else:
        assert (len(flood.stream), flood.interrupted) == (1_000_000, "sent more than 1000000 bytes")


def test_a_flood_before_the_script(reach, sshd_host):
    before = (sshd_host.root / "home/noisy/.bashrc").read_text()
    sshd_host.write("/home/noisy/.bashrc", "yes\n")
    try:
        flood = reach.unreachable(f"noisy@{sshd_host.address}", limits=Limits(size=1_000_000))
    finally:
        sshd_host.write("/home/noisy/.bashrc", before)
    assert flood.reason == "timeout-first-byte"


def test_a_script_that_ends_badly(reach, sshd_host):
    ended = reach(f"plain@{sshd_host.address}", b"echo half; exit 7\n")
    assert (ended.stream, ended.interrupted) == (
        b"half\n",
        "the collector's shell ended with status 7",
    )


@pytest.mark.parametrize("whom", ["$$", "$PPID"])
def test_what_came_before_a_kill_is_kept(reach, sshd_host, whom):
    """The collector's shell is killed, or the connection's own sshd."""
    script = f"echo half; sleep 0.3; kill -9 {whom}; sleep 5\n".encode()
    killed = reach(f"root@{sshd_host.address}", script)
    assert killed.stream == b"half\n"
    assert killed.interrupted == "the connection ended before the collector did"


def test_a_killed_collection_is_evidence_still(sshd_host, client, monkeypatch):
    """The collector's own stream, cut: what it had said before counts."""
    options = SshOptions(config_file=client.config)
    cut = b"\n    kill -9 $PPID\n    sleep 5\n"

    def script(nonce):
        whole = real(nonce, compress=False)
        place = whole.rindex(b"    collect_accounts\n")
        return whole[:place] + cut.lstrip(b"\n") + whole[place:]

    real = collect.collector.script
    monkeypatch.setattr(collect.collector, "script", script)
    found = collect.collect(Ssh(f"root@{sshd_host.address}", Limits(), options))
    assert not found.complete
    assert "the connection ended" in found.interrupted
    assert found["host.name"].lines == [sshd_host.name]
    assert not any(name.startswith("accounts") for name in found.sections)


def test_a_cable_is_pulled(reach, sshd_host):
    """Nothing comes any more, not even a goodbye."""

    def pull():
        time.sleep(1)
        sshd_host.namespace.run("ip", "link", "set", "eth0", "down")

    thread = threading.Thread(target=pull)
    thread.start()
    try:
        lost = reach(
            f"plain@{sshd_host.address}",
            b"while :; do echo x; sleep 0.1; done\n",
            limits=Limits(total=3),
        )
    finally:
        thread.join()
        sshd_host.namespace.run("ip", "link", "set", "eth0", "up")
    assert lost.stream.startswith(b"x\nx\n")
    assert lost.interrupted


def test_an_interrupt_leaves_nothing_behind(reach, sshd_host):
    timer = threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        reach(f"plain@{sshd_host.address}", b"while echo x; do sleep 0.1; done\n")
    timer.join()
    deadline = time.monotonic() + 5
    while "sshd: plain" in sshd_host.run("ps", "ax"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nothing_is_printed_and_nothing_logged(reach, sshd_host, capfd):
    reach(f"root@{sshd_host.address}", b"echo half; sleep 0.2; kill -9 $PPID; sleep 5\n")
    reach.unreachable(f"slow@{sshd_host.address}", limits=Limits(first_byte=0.5))
    assert capfd.readouterr() == ("", "")
