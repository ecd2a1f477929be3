"""Logging in to a real sshd: keys of every kind, agent, certificates, passwords."""

import subprocess
import time

import pytest
from testbed.machine import PASSWORDS

from audit_agent.transport import Limits

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def known(client, sshd_host):
    client.trust(sshd_host)


@pytest.fixture
def authorize(sshd_host):
    """Let one more key in as `plain`, for the length of a test."""
    path = "/home/plain/.ssh/authorized_keys"
    before = (sshd_host.root / path[1:]).read_text()

    def add(*publics):
        text = before + "".join(public.read_text() for public in publics)
        sshd_host.write(path, text)
        sshd_host.run("chown", "plain:", path)

    yield add
    add()


def test_with_a_key(reach, sshd_host):
    recording = reach(f"plain@{sshd_host.address}")
    assert recording.stream == b"hello from plain\n"
    assert recording.address == sshd_host.address
    assert (recording.via, recording.interrupted) == ("login", "")


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("rsa", "rsa", ["-b", "2048"]),
        ("rsa_pem", "rsa", ["-b", "2048", "-m", "PEM"]),
        ("rsa_pkcs8", "rsa", ["-b", "2048", "-m", "PKCS8"]),
        ("ecdsa", "ecdsa", ["-b", "384"]),
        ("ecdsa_pem", "ecdsa", ["-m", "PEM"]),
        ("gcm", "ed25519", ["-Z", "aes256-gcm@openssh.com"]),
        ("secret", "ed25519", []),
        ("secret_rsa_pem", "rsa", ["-b", "2048", "-m", "PEM"]),
    ],
)
def test_with_keys_of_other_kinds(
    reach, client, sshd_host, authorize, answers, tmp_path, name, kind, options
):
    secret = "" if not name.startswith(("secret", "gcm")) else "open sesame"
    path = tmp_path / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *options, "-N", secret, "-f", str(path)], check=True
    )
    authorize(path.with_suffix(".pub"))
    client.configure(identity=path)
    ask = answers("wrong", "open sesame") if secret else answers()
    assert reach(f"plain@{sshd_host.address}", ask=ask).stream == b"hello from plain\n"
    assert ask.asked == [f"Passphrase for {path}: "] * (2 if secret else 0)


def test_a_key_named_on_the_command_line(reach, client, sshd_host, keys, tmp_path):
    client.configure(identity=tmp_path / "none")
    assert reach(f"plain@{sshd_host.address}", keys=(keys.user,)).stream


def test_no_passphrase_is_asked_for_while_another_key_will_do(
    reach, client, sshd_host, answers, tmp_path
):
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "x", "-f", str(locked)], check=True)
    client.configure(f"IdentityFile {locked}")
    ask = answers()
    assert reach(f"plain@{sshd_host.address}", ask=ask).stream
    assert not ask.asked


def test_with_an_agent(reach, client, sshd_host, keys, agent, tmp_path):
    client.configure(f"Host *\n IdentityAgent {agent(keys.user)}", identity=tmp_path / "none")
    assert reach(f"plain@{sshd_host.address}").stream


def test_an_agent_holds_the_key_of_a_locked_file(
    reach, client, sshd_host, authorize, agent, answers, tmp_path
):
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(locked)], check=True)
    authorize(locked.with_suffix(".pub"))
    socket = agent(locked)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(locked)], check=True)
    locked.with_suffix(".pub").unlink()
    client.configure(f"IdentityAgent {socket}\nIdentitiesOnly yes", identity=locked)
    ask = answers()
    assert reach(f"plain@{sshd_host.address}", ask=ask).stream
    assert not ask.asked


def test_a_public_key_file_picks_the_agents_key(
    reach, client, sshd_host, agent, authorize, tmp_path
):
    others = [tmp_path / f"other{n}" for n in range(5)]
    for other in others:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
        socket = agent(other)
    authorize(others[4].with_suffix(".pub"))
    every = f"Host every\n HostName {sshd_host.address}\n"
    client.configure(f"{every}IdentityAgent {socket}", identity=tmp_path / "none")
    refused = reach.unreachable("plain@every")
    assert refused.reason == "auth-refused"
    assert "IdentitiesOnly" in refused.advice
    public = others[4].with_suffix(".pub")
    client.configure(f"IdentityAgent {socket}\nIdentitiesOnly yes", identity=public)
    assert reach(f"plain@{sshd_host.address}").stream


def test_a_dead_agent_is_no_obstacle(reach, client, sshd_host, tmp_path):
    client.configure(f"IdentityAgent {tmp_path}/gone")
    assert reach(f"plain@{sshd_host.address}").stream


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("in_agent", [False, True])
def test_with_a_certificate(reach, client, sshd_host, keys, agent, tmp_path, kind, in_agent):
    path = tmp_path / "certified"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-s", keys.authority, "-I", "test", "-n", "plain",
         path.with_suffix(".pub")],
        check=True,
    )  # fmt: skip
    config = f"IdentityAgent {agent(path)}" if in_agent else ""
    client.configure(config, identity=tmp_path / "none" if in_agent else path)
    assert reach(f"plain@{sshd_host.address}").stream


def test_a_certificate_beside_a_key_that_only_the_agent_has(
    reach, client, sshd_host, keys, agent, tmp_path
):
    path = tmp_path / "certified"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    socket = agent(path)
    public = path.with_suffix(".pub")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", keys.authority, "-I", "test", "-n", "plain", public], check=True
    )
    subprocess.run(["ssh-add", "-q", "-D"], env={"SSH_AUTH_SOCK": str(socket)}, check=True)
    (tmp_path / "certified-cert.pub").rename(tmp_path / "kept")
    agent(path)
    (tmp_path / "kept").rename(tmp_path / "certified-cert.pub")
    client.configure(f"IdentityAgent {socket}", identity=path)
    assert reach(f"plain@{sshd_host.address}").stream


def test_a_certificate_for_somebody_else_does_not_spoil_the_key(
    reach, client, sshd_host, keys, authorize, tmp_path
):
    path = tmp_path / "certified"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    public = path.with_suffix(".pub")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", keys.authority, "-I", "test", "-n", "other", public], check=True
    )
    authorize(public)
    client.configure(identity=path)
    assert reach(f"plain@{sshd_host.address}").stream


@pytest.fixture
def keyless(client, tmp_path):
    client.configure(identity=tmp_path / "none")


@pytest.mark.usefixtures("keyless")
def test_with_a_password(reach, sshd_host, answers):
    ask = answers(PASSWORDS["plain"])
    assert reach(f"plain@{sshd_host.address}", ask=ask).stream == b"hello from plain\n"
    assert ask.asked == [f"plain@plain@{sshd_host.address}'s password: "]


@pytest.mark.usefixtures("keyless")
def test_a_wrong_password_is_tried_once(reach, sshd_host, answers):
    ask = answers("wrong")
    refused = reach.unreachable(f"plain@{sshd_host.address}", ask=ask)
    assert refused.reason == "auth-refused"
    assert "tried password" in str(refused)
    assert len(ask.asked) == 1


@pytest.mark.usefixtures("keyless")
def test_nobody_to_ask(reach, sshd_host):
    refused = reach.unreachable(f"plain@{sshd_host.address}")
    assert refused.reason == "auth-refused"
    assert "it accepts password, publickey" in str(refused)
    assert "on a terminal" in refused.advice


def test_a_password_is_not_asked_for_where_the_user_forbids_it(reach, client, sshd_host, answers):
    client.configure("PasswordAuthentication no", identity=client.directory / "none")
    ask = answers()
    assert reach.unreachable(f"plain@{sshd_host.address}", ask=ask).reason == "auth-refused"
    assert not ask.asked


@pytest.mark.usefixtures("keyless")
def test_the_root_account_takes_keys_only(reach, sshd_host, answers):
    refused = reach.unreachable(f"root@{sshd_host.address}", ask=answers("guess"))
    assert refused.reason == "auth-refused"
    assert f"ssh-copy-id -p 22 root@{sshd_host.address}" in refused.advice


def test_questions_and_answers(reach, sshd_host, answers):
    ask = answers(PASSWORDS["answers"])
    assert reach(f"answers@{sshd_host.address}", ask=ask).stream == b"hello from answers\n"
    assert ask.asked == [f"(answers@answers@{sshd_host.address}) Password: "]


def test_a_wrong_answer_is_given_once(reach, sshd_host, answers):
    ask = answers("wrong")
    assert reach.unreachable(f"answers@{sshd_host.address}", ask=ask).reason == "auth-refused"
    assert len(ask.asked) == 1


def test_an_interrupted_answer_ends_the_attempt(reach, sshd_host):
    def ask(_prompt):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reach(f"answers@{sshd_host.address}", ask=ask)


def test_a_key_and_then_a_password(reach, sshd_host, answers):
    ask = answers(PASSWORDS["both"])
    assert reach(f"both@{sshd_host.address}", ask=ask).stream == b"hello from both\n"
    refused = reach.unreachable(f"both@{sshd_host.address}", ask=answers("wrong"))
    assert refused.reason == "auth-refused"


@pytest.mark.usefixtures("keyless")
def test_the_time_to_type_does_not_count(reach, sshd_host):
    def ask(_prompt):
        time.sleep(1.5)
        return PASSWORDS["plain"]

    limits = Limits(authenticate=1.4, first_byte=1.4, total=1.4)
    assert reach(f"plain@{sshd_host.address}", ask=ask, limits=limits).stream
