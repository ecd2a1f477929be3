"""Hosts behind hosts: through one jump host, through several, and through one that refuses."""

import shutil
import subprocess

import pytest
from testbed.machine import PASSWORDS

from audit_agent.transport import Limits
from audit_agent.transport.privilege import Sudo

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def middle(make_machine, sshd_host):
    """A host that only `sshd_host` can reach."""
    return make_machine(behind=sshd_host)


@pytest.fixture(scope="module")
def inner(make_machine, middle):
    """A host that only `middle` can reach."""
    return make_machine(behind=middle)


@pytest.fixture
def configure(client, sshd_host, middle, inner):
    def configure(jump, before=""):
        client.configure(
            f"{before}\n"
            f"Host gate\n HostName {sshd_host.address}\n User plain\n"
            f"Host middle\n HostName {middle.address}\n User plain\n"
            f"Host inner\n HostName {inner.address}\n User plain\n ProxyJump {jump}\n"
        )

    client.trust(sshd_host, middle, inner)
    return configure


def came_from(recording):
    return recording.stream.split()[0].decode()


FROM = b"echo $SSH_CLIENT\n"


def test_nobody_gets_there_directly(reach, client, middle):
    client.trust(middle)
    direct = reach.unreachable(f"plain@{middle.address}", limits=Limits(connect=0.5))
    assert direct.reason in {"no-route", "timeout-connect"}


def test_through_one(reach, client, configure, sshd_host, middle):
    configure("none", "Host middle\n ProxyJump gate")
    recording = reach("middle", FROM)
    assert came_from(recording) == sshd_host.address
    assert recording.address == middle.address
    big = reach("middle", b"head -c 3000000 /dev/zero | tr '\\0' x\n")
    assert (len(big.stream), big.interrupted) == (3_000_000, "")


@pytest.mark.parametrize("chain", ["gate,middle", "audit@gate:22,middle"])
def test_through_a_chain(reach, configure, middle, chain):
    configure(chain)
    assert came_from(reach("inner", FROM)) == middle.address


def test_through_a_jump_host_that_has_one_itself(reach, configure, middle):
    configure("middle", "Host middle\n ProxyJump gate")
    assert came_from(reach("inner", FROM)) == middle.address


def test_sudo_behind_jump_hosts(reach, configure, answers):
    configure("gate,middle")
    ask = answers(PASSWORDS["auditpw"])
    recording = reach("auditpw@inner", b"id -u\n", sudo=Sudo(ask))
    assert (recording.stream, recording.via) == (b"0\n", "sudo")


def test_a_passphrase_is_asked_for_once_for_the_whole_chain(
    reach, client, configure, keys, answers, tmp_path
):
    locked = tmp_path / "locked"
    shutil.copy(keys.user, locked)
    shutil.copy(keys.user.with_suffix(".pub"), locked.with_suffix(".pub"))
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "sesame", "-f", locked], check=True)
    configure("gate,middle", f"IdentityFile {locked}")
    text = client.config.read_text().replace(f"IdentityFile {keys.user}", f"IdentityFile {locked}")
    client.config.write_text(text)
    ask = answers("sesame")
    assert reach("inner", ask=ask).stream
    assert len(ask.asked) == 1


def test_the_jump_hosts_key_is_verified(reach, client, configure, middle, inner):
    configure("gate,middle")
    client.known_hosts.write_text("")
    client.trust(middle, inner)
    unknown = reach.unreachable("inner")
    assert unknown.reason == "host-key-unknown"
    assert str(unknown).startswith("jump host gate: ")
    assert "ssh-keyscan" in unknown.advice


def test_the_key_of_a_host_behind_is_verified(reach, client, configure, sshd_host, middle):
    configure("gate,middle")
    client.known_hosts.write_text("")
    client.trust(sshd_host, middle)
    unknown = reach.unreachable("inner")
    assert unknown.reason == "host-key-unknown"
    assert str(unknown).startswith("inner: ")
    assert "ssh-keyscan" not in unknown.advice, "it could not reach the host"
    assert reach("inner", accept_new=True).stream
    assert reach("inner").stream


def test_a_jump_host_that_refuses_the_login(reach, configure):
    configure("nobody@gate")
    refused = reach.unreachable("inner")
    assert refused.reason == "auth-refused"
    assert str(refused).startswith("jump host nobody@gate: ")


def test_a_jump_host_that_cannot_reach_it(reach, configure, sshd_host):
    configure("none", f"Host gone\n HostName {sshd_host.address}\n Port 9\n ProxyJump gate")
    gone = reach.unreachable("plain@gone")
    assert gone.reason == "jump-failed"
    assert "jump host gate" in str(gone)
    assert "cannot reach it" in str(gone)


def test_a_jump_host_that_forwards_nothing(reach, configure, sshd_host):
    configure("gate")
    sshd_host.serve("AllowTcpForwarding no")
    try:
        denied = reach.unreachable("inner")
    finally:
        sshd_host.serve()
    assert denied.reason == "jump-failed"
    assert "does not forward" in str(denied)
    assert "AllowTcpForwarding" in denied.advice


def test_a_circle_of_jump_hosts(reach, client):
    client.configure("Host a\n ProxyJump b\nHost b\n ProxyJump a")
    circle = reach.unreachable("a")
    assert circle.reason == "jump-failed"
    assert "circle" in str(circle)
