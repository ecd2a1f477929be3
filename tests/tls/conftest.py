"""Certificates issued while the tests run, and a tiny host of busybox to collect them from."""

import datetime as dt
import ipaddress
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from audit_agent import collector, evidence
from audit_agent.model import Evidence

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=8)))
NONCE = "fedcba9876543210" * 2

KEYS = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - weak on purpose
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(1024),  # noqa: S505 - weak on purpose
}


class Issued:
    """A certificate with its key, as PEM text."""

    def __init__(self, certificate: x509.Certificate, key) -> None:
        self.certificate, self.private = certificate, key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.key = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        self.sha256 = certificate.fingerprint(hashes.SHA256()).hex()


def issue(
    cn="www.example.com",
    *,
    key="ec",
    since=-30.0,
    days=365.0,
    names=(),
    issuer: Issued | None = None,
    ca=False,
) -> Issued:
    """A certificate valid from `since` days after NOW until `days` after NOW."""
    private = KEYS[key]()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "示例公司, Ltd."),
            x509.NameAttribute(NameOID.COMMON_NAME, cn),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=since))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        general = [
            x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n)
            for n in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    signer = issuer.private if issuer else private
    edwards = (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
    algorithm = None if isinstance(signer, edwards) else hashes.SHA256()
    return Issued(builder.sign(signer, algorithm), private)


@pytest.fixture(name="issue", scope="session")
def issue_fixture():
    return issue


@pytest.fixture(scope="session")
def openssl():
    """Run the openssl command; its standard output as text."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (make test installs it as root on Debian)")

    def run(*words, data: bytes | str = b"") -> str:
        done = subprocess.run(
            ["openssl", *map(str, words)],
            input=data.encode() if isinstance(data, str) else data,
            capture_output=True,
            check=True,
            env={**os.environ, "LC_ALL": "C", "OPENSSL_CONF": "/dev/null"},
        )
        return done.stdout.decode("utf-8", "replace")

    return run


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory):
    """A root directory with busybox and nothing else, to be copied."""
    if os.geteuid() != 0:
        pytest.skip("chroot takes root")
    busybox = shutil.which("busybox")
    if busybox is None or b"ld-linux" in Path(busybox).read_bytes()[:4096]:
        pytest.skip("busybox-static is not installed (make test installs it as root on Debian)")
    root = tmp_path_factory.mktemp("busybox")
    for name in ("bin", "proc", "dev", "tmp", "etc"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/sbin/nologin\nalice:x:1000:1000::/:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nwww:x:33:\nssl-cert:x:110:www\nstaff:x:50:alice\n")
    return root


class Root:
    """A prepared host: files in a directory, collected with that directory as its root."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mknod(path / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (path / "dev/null").chmod(0o666)
        self.before = ""
        self.stream = b""

    def write(self, name: str, content: str | bytes, mode: int = 0o644, owner=(0, 0)) -> None:
        target = self.path / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)
        os.chown(target, *owner)

    def collect(self, *, user: str = "root", fragments=("tls", "accounts")) -> Evidence:
        """The evidence that the collector gives there; `before` runs first, in the same root."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(collector, "FRAGMENTS", fragments)
            script = collector.script(NONCE, compress=False)
        shell = "exec sh -s" if user == "root" else f"exec su {user} -c 'exec sh -s'"
        done = subprocess.run(
            ["unshare", "--fork", "--pid", "--mount", f"--root={self.path}", "/bin/sh", "-c",
             f"mount -t proc proc /proc; {self.before}\n{shell}"],
            input=script, capture_output=True, timeout=60, check=False, cwd="/",
        )  # fmt: skip
        self.stream = done.stdout
        parsed = evidence.parse_stream(done.stdout, NONCE)
        assert parsed.complete, done.stderr
        return evidence.from_stream(parsed, target="root", collected_at=NOW)


@pytest.fixture
def root(busybox_root, tmp_path):
    path = tmp_path / "root"
    shutil.copytree(busybox_root, path, symlinks=True)
    path.chmod(0o755)
    return Root(path)
