"""The installed command against a real host over SSH, from the first byte to the rendered page."""

import datetime as dt
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

AGENT = str(Path(sys.executable).parent / "audit-agent")
pytestmark = [pytest.mark.root, pytest.mark.hosts]


def certificate(days):
    """A self-signed certificate with its key, both PEM, that expires in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=100))
        .not_valid_after(now + dt.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return built.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@pytest.fixture(scope="module")
def host(make_machine):
    """A host with a firewall of its own and an nginx configuration whose certificate expired."""
    machine = make_machine()
    pem, key = certificate(days=-3)
    machine.write("/etc/nginx/tls/shop.pem", pem)
    machine.write("/etc/nginx/tls/shop.key", key, 0o600)
    machine.write(
        "/etc/nginx/conf.d/shop.conf",
        "server {\n    listen 443 ssl;\n    server_name shop.example;\n"
        "    ssl_certificate tls/shop.pem;\n    ssl_certificate_key tls/shop.key;\n}\n",
    )
    machine.run("iptables-nft", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    machine.run("iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
    machine.run("iptables-nft", "-P", "INPUT", "DROP")
    machine.run("ip6tables-nft", "-P", "INPUT", "DROP")
    yield machine
    machine.close()


@pytest.fixture
def agent(client, host, tmp_path):
    client.trust(host)

    def run(*words, **options):
        return subprocess.run(
            [AGENT, *map(str, words), "--ssh-config", str(client.config)],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"},
            capture_output=True,
            timeout=120,
            check=False,
            **options,
        )

    return run


class Words(HTMLParser):
    """The text of a page."""

    def __init__(self):
        super().__init__()
        self.text = []

    def handle_data(self, data):
        self.text.append(data)


def statuses(path):
    (host,) = json.loads(path.read_bytes())["hosts"]
    found = {}
    for finding in host["findings"]:
        found.setdefault(finding["check"], []).append(finding["status"])
    return host, found


def test_a_host_from_ssh_to_the_page(agent, host, tmp_path):
    done = agent("run", f"root@{host.address}", "-o", "report.html")
    assert done.returncode == 0, done.stderr.decode()
    words = Words()
    words.feed((tmp_path / "report.html").read_text())
    text = " ".join(" ".join(words.text).split())
    for expected in (host.name, host.address, "shop.example", "TLS-01", "/etc/nginx/tls/shop.pem"):
        assert expected in text, expected
    assert "PRIVATE KEY" not in (tmp_path / "report.html").read_text()
    for file in ("report.html", *(path.name for path in tmp_path.glob("*.evidence.zip"))):
        assert subprocess.run([AGENT, "verify", tmp_path / file], check=False).returncode == 0


def test_what_it_says_of_the_host_is_so(agent, host, tmp_path):
    done = agent("run", f"root@{host.address}", "--format", "json", "-o", "r.json")
    assert done.returncode == 0, done.stderr.decode()
    _, found = statuses(tmp_path / "r.json")
    assert found["TLS-01"] == ["fail"]
    assert found["TLS-09"] == ["pass"]
    assert found["FW-01"] == ["pass"]
    assert found["FW-02"] == ["pass"]
    assert found["FW-03"] == ["pass"]
    assert found["SSH-02"] == ["fail"]


def test_without_privilege_it_runs_and_says_so(agent, host, tmp_path):
    done = agent("run", f"plain@{host.address}", "--format", "json", "-o", "r.json")
    assert done.returncode == 0, done.stderr.decode()
    assert b"Read without root" in done.stderr
    report, found = statuses(tmp_path / "r.json")
    assert report["privilege"]["root"] is False
    for check in ("FW-01", "FW-02", "FW-03", "AC-03"):
        assert found[check] == ["unknown"], check


def test_sudo_sees_what_root_sees(agent, host, tmp_path):
    for user, name in (("root", "a"), ("audit", "b")):
        words = ["--sudo"] if user == "audit" else []
        done = agent(
            "run", f"{user}@{host.address}", *words, "--format", "json", "-o", f"{name}.json"
        )
        assert done.returncode == 0, done.stderr.decode()
    assert statuses(tmp_path / "a.json")[1] == statuses(tmp_path / "b.json")[1]


def test_a_sudo_password_through_a_pipe(agent, host, tmp_path):
    words = ["run", f"auditpw@{host.address}", "-K", "--format", "json", "-o", "r.json"]
    done = agent(*words, input=b"correct horse\n")
    assert done.returncode == 0, done.stderr.decode()
    assert statuses(tmp_path / "r.json")[0]["privilege"]["root"] is True
    wrong = agent(*words, input=b"wrong\n")
    assert wrong.returncode == 3
    assert b"did not accept the password" in wrong.stderr
    assert b"Traceback" not in wrong.stderr


def test_an_unknown_host_key_is_refused_with_the_way_out(agent, client, host):
    client.known_hosts.write_text("")
    done = agent("run", f"root@{host.address}", "-o", "-")
    assert done.returncode == 3
    assert b"SHA256:" in done.stderr
    assert b"--accept-new-host-key" in done.stderr
    assert done.stdout == b""
    accepted = agent("collect", f"root@{host.address}", "--accept-new-host-key", "-o", "x.zip")
    assert accepted.returncode == 0, accepted.stderr.decode()
    assert host.address in client.known_hosts.read_text()
