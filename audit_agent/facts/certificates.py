"""The certificates in the files that configuration names: dates, names, key and signature."""

import base64
import binascii
import datetime as dt
import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from cryptography import x509
from msgspec import Struct

from audit_agent.facts import der
from audit_agent.facts.webconfig.configuration import Reference
from audit_agent.model import Evidence, Gap, Quote, Section

_T = TypeVar("_T")

# RFC 3279, 4055, 5758, 8410, 9881; SM2 and SM3: GM/T 0006.
_RSA, _EC, _SM2 = "1.2.840.113549.1.1.", "1.2.840.10045.4.", "1.2.156.10197.1."
_NIST = "2.16.840.1.101.3.4."
_SIGNATURES: Mapping[str, tuple[str, str]] = {
    f"{_RSA}2": ("RSA", "MD2"), f"{_RSA}3": ("RSA", "MD4"), f"{_RSA}4": ("RSA", "MD5"),
    f"{_RSA}5": ("RSA", "SHA-1"), f"{_RSA}14": ("RSA", "SHA-224"), f"{_RSA}11": ("RSA", "SHA-256"),
    f"{_RSA}12": ("RSA", "SHA-384"), f"{_RSA}13": ("RSA", "SHA-512"), f"{_RSA}10": ("RSA-PSS", ""),
    f"{_RSA}15": ("RSA", "SHA-512/224"), f"{_RSA}16": ("RSA", "SHA-512/256"),
    "1.3.14.3.2.3": ("RSA", "MD5"), "1.3.14.3.2.15": ("RSA", "SHA-1"),
    "1.3.14.3.2.29": ("RSA", "SHA-1"), "1.3.14.3.2.27": ("DSA", "SHA-1"),
    "1.2.840.10040.4.3": ("DSA", "SHA-1"), f"{_NIST}3.1": ("DSA", "SHA-224"),
    f"{_NIST}3.2": ("DSA", "SHA-256"), f"{_NIST}3.3": ("DSA", "SHA-384"),
    f"{_NIST}3.4": ("DSA", "SHA-512"), f"{_EC}1": ("ECDSA", "SHA-1"),
    f"{_EC}3.1": ("ECDSA", "SHA-224"), f"{_EC}3.2": ("ECDSA", "SHA-256"),
    f"{_EC}3.3": ("ECDSA", "SHA-384"), f"{_EC}3.4": ("ECDSA", "SHA-512"),
    f"{_NIST}3.9": ("ECDSA", "SHA3-224"), f"{_NIST}3.10": ("ECDSA", "SHA3-256"),
    f"{_NIST}3.11": ("ECDSA", "SHA3-384"), f"{_NIST}3.12": ("ECDSA", "SHA3-512"),
    f"{_NIST}3.13": ("RSA", "SHA3-224"), f"{_NIST}3.14": ("RSA", "SHA3-256"),
    f"{_NIST}3.15": ("RSA", "SHA3-384"), f"{_NIST}3.16": ("RSA", "SHA3-512"),
    "1.3.101.112": ("Ed25519", "SHA-512"), "1.3.101.113": ("Ed448", "SHAKE256"),
    f"{_SM2}501": ("SM2", "SM3"), f"{_SM2}504": ("RSA", "SM3"),
    f"{_NIST}3.17": ("ML-DSA-44", "SHAKE256"), f"{_NIST}3.18": ("ML-DSA-65", "SHAKE256"),
    f"{_NIST}3.19": ("ML-DSA-87", "SHAKE256"),
}  # fmt: skip
_HASHES = {
    "1.2.840.113549.2.5": "MD5", "1.3.14.3.2.26": "SHA-1", f"{_NIST}2.4": "SHA-224",
    f"{_NIST}2.1": "SHA-256", f"{_NIST}2.2": "SHA-384", f"{_NIST}2.3": "SHA-512",
    f"{_NIST}2.8": "SHA3-256", f"{_NIST}2.9": "SHA3-384", f"{_NIST}2.10": "SHA3-512",
    f"{_SM2}401": "SM3",
}  # fmt: skip
_CURVES = {
    "1.2.840.10045.3.1.1": ("P-192", 192), "1.3.132.0.33": ("P-224", 224),
    "1.2.840.10045.3.1.7": ("P-256", 256), "1.3.132.0.34": ("P-384", 384),
    "1.3.132.0.35": ("P-521", 521), "1.3.132.0.10": ("secp256k1", 256),
    "1.3.132.0.8": ("secp160r1", 160), "1.3.132.0.31": ("secp192k1", 192),
    "1.3.132.0.32": ("secp224k1", 224), "1.3.36.3.3.2.8.1.1.7": ("brainpoolP256r1", 256),
    "1.3.36.3.3.2.8.1.1.11": ("brainpoolP384r1", 384),
    "1.3.36.3.3.2.8.1.1.13": ("brainpoolP512r1", 512), f"{_SM2}301": ("SM2", 256),
}  # fmt: skip
_KEYS = {
    "1.3.101.112": ("Ed25519", 256), "1.3.101.113": ("Ed448", 448), f"{_SM2}301": ("SM2", 256),
    f"{_NIST}3.17": ("ML-DSA-44", 0), f"{_NIST}3.18": ("ML-DSA-65", 0),
    f"{_NIST}3.19": ("ML-DSA-87", 0), "1.2.840.10040.4.1": ("DSA", 0),
}  # fmt: skip
_BLOCK = re.compile(r"-----(BEGIN|END) (?:(?:X509|TRUSTED) )?CERTIFICATE-----")
KEY_MARK = "[a private key, not collected]"
"""What the collector writes where a private key begins."""


class PublicKey(Struct, frozen=True):
    """A certificate's key: "RSA", "EC", "SM2", "DSA", "Ed25519" ..., or an OID that is not known.

    `bits` is 0 where the kind says all, or where it could not be told.
    """

    kind: str
    bits: int
    curve: str = ""

    def __str__(self) -> str:
        name = self.curve or self.kind
        return f"{self.kind} {self.bits}" if self.kind in {"RSA", "DSA"} and self.bits else name


class Signature(Struct, frozen=True):
    """How a certificate is signed; `hash` is "" where the algorithm is not known.

    `kind` is then the OID.
    """

    kind: str
    hash: str

    def __str__(self) -> str:
        if self.kind.startswith(("Ed", "ML-")) or not self.hash:
            return self.kind
        return f"{self.kind}/{self.hash}"


class Certificate(Struct, frozen=True):
    """One certificate.

    `position` counts from 0 in its file. `names` are its DNS names and addresses, `is_ca` what
    its basic constraints say; both are None where its extensions cannot be read.
    """

    position: int
    subject: str
    issuer: str
    names: tuple[str, ...] | None
    not_before: dt.datetime
    not_after: dt.datetime
    key: PublicKey
    signature: Signature
    is_ca: bool | None
    self_signed: bool
    sha256: str
    quote: Quote

    @property
    def lifetime(self) -> dt.timedelta:
        """From the first moment of validity to the last."""
        return self.not_after - self.not_before


class CertificateFile(Struct, frozen=True):
    """A file that configuration names for its certificates.

    `gap` says why it could not be read (ABSENT: it does not exist). `unreadable` are the blocks
    in it that are no certificate any reader understands; `key` is where a private key stands in
    it, or None.
    """

    path: str
    references: tuple[Reference, ...]
    certificates: tuple[Certificate, ...]
    unreadable: tuple[Quote, ...]
    key: Quote | None
    gap: Gap | None
    quote: Quote

    @property
    def only_chain(self) -> bool:
        """Whether the file holds issuers only (Apache's SSLCertificateChainFile)."""
        return all(reference.role == "chain" for reference in self.references)

    @property
    def chain(self) -> list[Certificate]:
        """Leaf and intermediates: all but a root, which clients have from elsewhere.

        A file that holds nothing but a root is taken as it is.
        """
        first = 0 if self.only_chain else 1
        kept = [c for c in self.certificates if not (c.self_signed and c.position >= first)]
        return kept or list(self.certificates)


def read_certificate_files(
    evidence: Evidence, references: Sequence[Reference]
) -> list[CertificateFile]:
    """Each file that is named for its certificates, in the order of first mention."""
    by_path: dict[str, list[Reference]] = {}
    for reference in references:
        if reference.path and reference.role != "key":
            by_path.setdefault(reference.path, []).append(reference)
    return [_file(evidence, path, tuple(named)) for path, named in by_path.items()]


def _file(evidence: Evidence, path: str, references: tuple[Reference, ...]) -> CertificateFile:
    name = f"certificates:{path}"
    section = evidence.sections.get(name)
    gap = section.gap if section is not None else Gap.NOT_COLLECTED
    if section is None or gap is not None:
        return CertificateFile(path, references, (), (), None, gap, Quote(name))
    certificates: list[Certificate] = []
    unreadable: list[Quote] = []
    for data, quote in _blocks(section):
        certificate = read_certificate(data, len(certificates) + len(unreadable), quote)
        if certificate is None:
            unreadable.append(quote)
        else:
            certificates.append(certificate)
    keys = [Quote(name, n, n) for n, line in enumerate(section.lines, 1) if line == KEY_MARK]
    return CertificateFile(
        path, references, tuple(certificates), tuple(unreadable), keys[0] if keys else None, None,
        Quote(name),
    )  # fmt: skip


def _blocks(section: Section) -> Iterator[tuple[bytes, Quote]]:
    """The bytes of each block (RFC 7468) and its lines; empty where it is not base64, or open."""
    begun, held = 0, ""
    for number, line in enumerate(section.lines, 1):
        mark = _BLOCK.fullmatch(line.strip())
        if mark is None:
            held += line
            continue
        if begun:
            yield _decoded(held) if mark[1] == "END" else b"", Quote(section.name, begun, number)
        begun, held = number if mark[1] == "BEGIN" else 0, ""
    if begun:
        yield b"", Quote(section.name, begun, len(section.lines))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def read_certificate(data: bytes, position: int, quote: Quote) -> Certificate | None:
    """A certificate in DER, or None where nothing understands it.

    Our own tolerant reader gives the fields; `cryptography`, which refuses some certificates that
    servers load, gives the extensions. What follows the certificate (OpenSSL's trust settings) is
    left aside.
    """
    fields = _guarded(lambda: der.read(data))
    if fields is None:
        return None
    data = data[: fields.length]
    loaded = _guarded(lambda: x509.load_der_x509_certificate(data))
    return Certificate(
        position=position,
        subject=fields.subject,
        issuer=fields.issuer,
        names=None if loaded is None else _guarded(lambda: _names(loaded)),
        not_before=fields.not_before,
        not_after=fields.not_after,
        key=_key(fields),
        signature=_signature(fields),
        is_ca=None if loaded is None else _guarded(lambda: _is_ca(loaded)),
        self_signed=fields.self_issued,
        sha256=hashlib.sha256(data).hexdigest(),
        quote=quote,
    )


def _guarded(read: Callable[[], _T]) -> _T | None:
    """What `read` gives, or None: one odd field must not take the certificate with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # serial numbers that are not positive
        try:
            return read()
        except Exception:  # noqa: BLE001 - each version of the library raises something else
            return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = found.get_values_for_type(x509.DNSName)
    return (*hosts, *map(str, found.get_values_for_type(x509.IPAddress)))


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca


def _key(fields: der.Fields) -> PublicKey:
    if fields.key_oid == "1.2.840.10045.2.1":
        curve, bits = _CURVES.get(fields.curve_oid, (fields.curve_oid, fields.key_bits))
        return PublicKey("SM2" if curve == "SM2" else "EC", bits, curve or f"EC {bits}")
    if fields.key_oid.startswith(_RSA):
        return PublicKey("RSA", fields.key_bits)
    kind, bits = _KEYS.get(fields.key_oid, (fields.key_oid, 0))
    return PublicKey(kind, bits)


def _signature(fields: der.Fields) -> Signature:
    kind, digest = _SIGNATURES.get(fields.signature_oid, (fields.signature_oid, ""))
    if fields.hash_oid:
        digest = _HASHES.get(fields.hash_oid, "")
    return Signature(kind, digest)
