"""Host keys: only the recorded one is trusted, whatever else a host shows."""

import re
import subprocess

import pytest

from audit_agent.transport.known_hosts import KnownHosts

pytestmark = pytest.mark.root


def other_key(keys, name, kind="ed25519"):
    """The public half of a key that no host has."""
    path = keys.directory / f"{name}-{kind}"
    if not path.exists():
        keys.make(path.name, kind)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def fingerprints(machine):
    return {
        machine.run("ssh-keygen", "-lf", f"/etc/ssh/ssh_host_{kind}_key.pub").split()[1]
        for kind in ("ed25519", "ecdsa")
    }


def test_an_unknown_key_is_refused_with_what_would_accept_it(reach, client, sshd_host):
    unknown = reach.unreachable(f"plain@{sshd_host.address}")
    assert unknown.reason == "host-key-unknown"
    assert re.search(r"SHA256:[\w+/]+", str(unknown))[0] in fingerprints(sshd_host)
    assert "--accept-new-host-key" in unknown.advice
    command = re.search(r"run: (.*) \(or", unknown.advice)[1]
    subprocess.run(command, shell=True, check=True, capture_output=True)  # noqa: S602 - our advice
    assert reach(f"plain@{sshd_host.address}").stream
    check = re.search(r"ssh-keygen -lf \S+(?=;)", unknown.advice)[0]
    assert re.search(r"SHA256:[\w+/]+", str(unknown))[0] in sshd_host.run(*check.split())


@pytest.mark.parametrize("hashed", [False, True])
def test_a_new_key_is_accepted_by_name_and_then_known(reach, client, sshd_host, hashed):
    client.configure(f"HashKnownHosts {'yes' if hashed else 'no'}")
    target = f"plain@{sshd_host.address}"
    assert reach(target, accept_new=True).stream
    recorded = client.known_hosts.read_text()
    assert recorded.count("\n") == 1
    assert (sshd_host.address in recorded) is not hashed
    assert reach(target).stream
    assert reach(target, accept_new=True).stream
    assert client.known_hosts.read_text() == recorded


def test_an_accepted_key_must_be_recorded(reach, client, sshd_host, tmp_path):
    (tmp_path / "file").touch()
    client.configure(f"UserKnownHostsFile {tmp_path}/file/known_hosts")
    refused = reach.unreachable(f"plain@{sshd_host.address}", accept_new=True)
    assert refused.reason == "host-key-unknown"
    assert "cannot be recorded" in str(refused)


@pytest.mark.parametrize("accept_new", [False, True])
def test_a_changed_key_is_refused_by_all_means(reach, client, sshd_host, keys, accept_new):
    old = other_key(keys, "old")
    client.known_hosts.write_text(f"# mine\n{sshd_host.address} {old}\n")
    changed = reach.unreachable(f"plain@{sshd_host.address}", accept_new=accept_new)
    assert changed.reason == "host-key-changed"
    shown, recorded = re.findall(r"SHA256:[\w+/]+", str(changed))
    assert shown in fingerprints(sshd_host)
    assert recorded not in fingerprints(sshd_host)
    assert f"{client.known_hosts}:2" in str(changed)
    remove = re.search(r"ssh-keygen -f \S+ -R [^;]+", changed.advice)[0]
    subprocess.run(remove, shell=True, check=True, capture_output=True)  # noqa: S602 - our advice
    assert reach.unreachable(f"plain@{sshd_host.address}").reason == "host-key-unknown"


def test_a_key_of_another_kind_does_not_hide_a_changed_one(reach, client, sshd_host, keys):
    """Whoever is in between could show a kind of key that was never recorded."""
    client.known_hosts.write_text(f"{sshd_host.address} {other_key(keys, 'old', 'rsa')}\n")
    changed = reach.unreachable(f"plain@{sshd_host.address}", accept_new=True)
    assert changed.reason == "host-key-changed"
    assert "no longer offers" in str(changed)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_the_host_shows_the_key_that_is_recorded(reach, client, sshd_host, kind):
    lines = sshd_host.known_hosts().splitlines()
    client.known_hosts.write_text("\n".join(line for line in lines if kind in line) + "\n")
    assert reach(f"plain@{sshd_host.address}").stream


@pytest.mark.parametrize("accept_new", [False, True])
def test_a_revoked_key_is_refused(reach, client, sshd_host, accept_new):
    client.trust(sshd_host)
    with client.known_hosts.open("a") as file:
        file.writelines(f"@revoked * {line.partition(' ')[2]}\n"
                        for line in sshd_host.known_hosts().splitlines())  # fmt: skip
    revoked = reach.unreachable(f"plain@{sshd_host.address}", accept_new=accept_new)
    assert revoked.reason == "host-key-revoked"
    assert f"{client.known_hosts}:3" in str(revoked) or f"{client.known_hosts}:4" in str(revoked)


def test_patterns_hashes_and_other_lines(reach, client, sshd_host):
    key = sshd_host.known_hosts().splitlines()[0].partition(" ")[2]
    network = sshd_host.address.rpartition(".")[0]
    client.known_hosts.write_text(f"@cert-authority *.example {key}\ngarbage\n{network}.* {key}\n")
    assert reach(f"plain@{sshd_host.address}").stream
    client.known_hosts.write_text(f"{network}.*,!{sshd_host.address} {key}\n")
    assert reach.unreachable(f"plain@{sshd_host.address}").reason == "host-key-unknown"
    client.known_hosts.write_text(f"{sshd_host.address} {key}\n")
    subprocess.run(
        ["ssh-keygen", "-q", "-H", "-f", client.known_hosts], check=True, capture_output=True
    )
    assert sshd_host.address not in client.known_hosts.read_text()
    assert reach(f"plain@{sshd_host.address}").stream


def test_an_authority_for_the_host_is_named(reach, client, sshd_host, keys):
    client.known_hosts.write_text(f"@cert-authority * {other_key(keys, 'ca')}\n")
    unknown = reach.unreachable(f"plain@{sshd_host.address}")
    assert unknown.reason == "host-key-unknown"
    assert "certificate authority" in str(unknown)


def test_the_alias_is_what_is_looked_up(reach, client, sshd_host):
    client.configure("HostKeyAlias the-web")
    client.known_hosts.write_text(sshd_host.known_hosts("the-web"))
    assert reach(f"plain@{sshd_host.address}").stream
    client.known_hosts.write_text(sshd_host.known_hosts())
    unknown = reach.unreachable(f"plain@{sshd_host.address}")
    assert "ssh-keyscan" not in unknown.advice, "it would record another name"


def test_the_global_file_counts_too(reach, client, sshd_host):
    (client.directory / "global_known_hosts").write_text(sshd_host.known_hosts())
    assert reach(f"plain@{sshd_host.address}").stream


def test_another_port_of_a_known_host(reach, client, sshd_host, keys):
    other = sshd_host.root / "etc/ssh/sshd_2222"
    config = (sshd_host.root / "etc/ssh/sshd_config").read_text()
    sshd_host.write("/etc/ssh/sshd_2222", config.replace("Port 22\n", "Port 2222\n")
                    .replace("/run/sshd.pid", "/run/sshd2222.pid"))  # fmt: skip
    sshd_host.run("/usr/sbin/sshd", "-f", "/etc/ssh/sshd_2222", "-E", "/run/sshd2222.log")
    target = f"plain@{sshd_host.address}:2222"
    try:
        unknown = reach.unreachable(target)
        assert f"-p 2222 {sshd_host.address}" in unknown.advice
        client.trust(sshd_host)
        assert reach(target).stream, "as ssh does: the same key on another port"
        client.known_hosts.write_text("")
        assert reach(target, accept_new=True).stream
        assert f"[{sshd_host.address}]:2222 " in client.known_hosts.read_text()
        client.known_hosts.write_text(
            f"{sshd_host.known_hosts()}[{sshd_host.address}]:2222 {other_key(keys, 'old')}\n"
        )
        changed = reach.unreachable(target)
        assert changed.reason == "host-key-changed"
        assert f"-R '[{sshd_host.address}]:2222'" in changed.advice
    finally:
        sshd_host.run("sh", "-c", "kill $(cat /run/sshd2222.pid)")
        other.unlink()


def test_what_was_recorded_is_what_ssh_reads(reach, client, sshd_host):
    reach(f"plain@{sshd_host.address}", accept_new=True)
    done = subprocess.run(
        ["ssh", "-F", client.config, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
         f"plain@{sshd_host.address}", "echo", "in"],
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.stdout == b"in\n", done.stderr
    assert KnownHosts.read([client.known_hosts]).find(sshd_host.address, 22).keys
