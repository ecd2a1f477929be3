"""The small DER reader, against OpenSSL and cryptography, and against garbage."""

import datetime as dt
import ssl
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from audit_agent.facts import der
from audit_agent.facts.certificates import read_certificate
from audit_agent.model import Quote

STORE = Path("/etc/ssl/certs")
HERE = Quote("x")


def stored():
    for path in sorted(STORE.glob("*.pem"))[:200]:
        yield ssl.PEM_cert_to_DER_cert(path.read_text())


def test_agrees_with_cryptography_on_the_systems_own_store():
    checked = 0
    for data in stored():
        fields = der.read(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one of them has a serial number of zero
            strict = x509.load_der_x509_certificate(data)
            key = strict.public_key()
            assert fields.serial == strict.serial_number
        assert fields.not_before == strict.not_valid_before_utc
        assert fields.not_after == strict.not_valid_after_utc
        assert fields.signature_oid == strict.signature_algorithm_oid.dotted_string
        assert fields.key_oid == strict.public_key_algorithm_oid.dotted_string
        names = {"1.2.840.113549.1.9.1": "emailAddress", "2.5.4.5": "serialNumber"}
        names = {x509.ObjectIdentifier(oid): name for oid, name in names.items()}
        assert fields.subject == strict.subject.rfc4514_string(names)
        assert fields.self_issued == (strict.subject == strict.issuer)
        certificate = read_certificate(data, 0, HERE)
        assert certificate.key.bits == key.key_size
        checked += 1
    if not checked:
        pytest.skip("ca-certificates is not installed")


UNUSUAL = {
    "sm2": ("-sm3",),
    "sha1": ("-newkey", "rsa:2048", "-sha1"),
    "md5": ("-newkey", "rsa:2048", "-md5"),
    "rsa1024": ("-newkey", "rsa:1024",),
    "negative serial": ("-newkey", "rsa:2048", "-set_serial", "-5"),
    "zero serial": ("-newkey", "rsa:2048", "-set_serial", "0"),
    "pss": ("-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss", "-sha384"),
    "explicit curve": (
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"
    ),
    "ed25519": ("-newkey", "ed25519"),
    "ed448": ("-newkey", "ed448"),
    "brainpool": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"),
    "far future": ("-newkey", "rsa:2048", "-days", "60000"),
    "wildcard and addresses": (
        "-newkey", "ed25519", "-addext",
        "subjectAltName=DNS:*.example.com,IP:192.0.2.1,IP:2001:db8::1"
    ),
    "odd name": ("-newkey", "ed25519", "-utf8", "-subj", "/C=CN/O=甲乙, \"丙\" <丁>;+/CN= #x "),
    "broken extension": ("-newkey", "ed25519", "-addext", "subjectAltName=DER:0500"),
}  # fmt: skip
KEYS = {
    "sm2": "SM2", "rsa1024": "RSA 1024", "ed25519": "Ed25519", "ed448": "Ed448",
    "explicit curve": "EC 256", "brainpool": "brainpoolP256r1",
}  # fmt: skip
SIGNATURES = {
    "sm2": "SM2/SM3", "sha1": "RSA/SHA-1", "md5": "RSA/MD5", "pss": "RSA-PSS/SHA-384",
    "ed25519": "Ed25519",
}  # fmt: skip


@pytest.mark.parametrize("form", UNUSUAL)
def test_agrees_with_openssl_on_unusual_certificates(openssl, tmp_path, form):
    words = UNUSUAL[form]
    subject = () if "-subj" in words else ("-subj", "/C=CN/O=Example/CN=www.example.com")
    days = () if "-days" in words else ("-days", "90")
    out, key = tmp_path / "c.der", tmp_path / "key"
    made = ("-nodes", "-keyout", key)
    if "-newkey" not in words:
        openssl("genpkey", "-algorithm", form, "-out", key)
        made = ("-new", "-key", key)
    openssl("req", "-x509", "-outform", "DER", "-out", out, *made, *words, *subject, *days)
    data = out.read_bytes()
    certificate = read_certificate(data, 0, HERE)
    assert certificate is not None
    text = openssl(
        "x509", "-inform", "DER", "-in", out, "-noout", "-dates", "-subject", "-issuer",
        "-nameopt", "RFC2253,-esc_msb,utf8", "-fingerprint", "-sha256",
    )  # fmt: skip
    found = dict(line.split("=", 1) for line in text.splitlines())
    for moment, name in (
        (certificate.not_before, "notBefore"),
        (certificate.not_after, "notAfter"),
    ):
        assert (
            dt.datetime.strptime(found[name], "%b %d %H:%M:%S %Y %Z").replace(tzinfo=dt.UTC)
            == moment
        )
    assert certificate.subject == found["subject"]
    assert certificate.issuer == found["issuer"]
    assert certificate.sha256 == found["sha256 Fingerprint"].replace(":", "").lower()
    if form in KEYS:
        assert str(certificate.key) == KEYS[form]
    if form in SIGNATURES:
        assert str(certificate.signature) == SIGNATURES[form]
    if form == "wildcard and addresses":
        assert certificate.names == ("*.example.com", "192.0.2.1", "2001:db8::1")
    if form == "broken extension":
        assert certificate.names is None
    if form == "sm2":
        assert "Signature Algorithm: SM2-with-SM3" in openssl(
            "x509", "-inform", "DER", "-in", out, "-noout", "-text"
        )


def test_reads_what_cryptography_refuses(issue, openssl):
    """A version written out although it is the default: OpenSSL does not mind."""
    data = issue().der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x00", 1)
    with pytest.raises(ValueError, match="parsing"):
        x509.load_der_x509_certificate(data)
    certificate = read_certificate(data, 0, HERE)
    assert certificate.names is None
    found = openssl("x509", "-inform", "DER", "-noout", "-enddate", data=data)
    assert f"{certificate.not_after:%b %d %H:%M:%S %Y} GMT" in found


def test_what_follows_a_certificate_is_ignored(issue):
    data = issue().der
    assert der.read(data + b"trailing") == der.read(data)
    assert read_certificate(data + b"\x30\x00", 0, HERE) == read_certificate(data, 0, HERE)


@pytest.mark.parametrize(
    ("encoded", "moment"),
    [
        (b"\x17\x0d260101000000Z", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (b"\x17\x0d500101000000Z", dt.datetime(1950, 1, 1, tzinfo=dt.UTC)),
        (b"\x17\x0b2601010000Z", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (b"\x17\x11260101080000+0800", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (b"\x18\x0f20510101000000Z", dt.datetime(2051, 1, 1, tzinfo=dt.UTC)),
        (b"\x18\x1120260101000000.5Z", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (b"\x18\x0f99991231235959Z", dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
        (b"\x17\x0d261301000000Z", None),
        (b"\x17\x0d260230000000Z", None),
        (b"\x18\x1300010101000000+0800", None),
        (b"\x0c\x0d260101000000Z", None),
        (b"\x17\x00", None),
    ],
)
def test_times(issue, encoded, moment):
    """In a certificate whose first time is replaced; lengths are mended around it."""
    whole = der.Node(issue().der)
    body, *rest = whole.items(3)
    fields = body.items(6)
    parts = [wrap(field.tag, field.content) for field in fields]
    parts[4] = wrap(0x30, encoded + wrap(0x18, b"99991231235959Z"))
    changed = wrap(
        0x30, wrap(0x30, b"".join(parts)) + b"".join(wrap(r.tag, r.content) for r in rest)
    )
    if moment is None:
        with pytest.raises(der.DerError):
            der.read(changed)
    else:
        assert der.read(changed).not_before == moment


def wrap(tag, content):
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def read_or_refuse(data):
    try:
        der.read(data)
    except der.DerError:
        return None
    return read_certificate(data, 0, HERE)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data):
    read_or_refuse(data)


@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 10_000))
def test_damaged_certificates_raise_nothing_else(issue, position, value, cut):
    data = bytearray(SAMPLE or SAMPLE.extend(issue(key="rsa2048").der) or SAMPLE)
    data[position % len(data)] = value
    read_or_refuse(bytes(data[: cut % len(data)]))
    read_or_refuse(bytes(data))


SAMPLE = bytearray()


def test_deep_nesting_and_wild_lengths_are_refused_quickly():
    for data in (
        b"\x30\x80" * 5000,
        b"\x30\x84\xff\xff\xff\xff" * 1000,
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        wrap(0x30, wrap(0x30, bytes(range(256)) * 400)),
        wrap(0x30, wrap(0x30, b"\x06\x01\x01" * 100_000) + b"\x30\x00\x03\x00"),
    ):
        with pytest.raises(der.DerError):
            der.read(data)
