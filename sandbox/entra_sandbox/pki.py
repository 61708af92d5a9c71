"""The sandbox's own certificate authority, its server certificate and the key that signs tokens.

Everything lives in the state folder and is used again when it is there, so that a client which trusts the CA
and holds a token goes on working after a restart.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEAR = dt.timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the files are, and the signing key itself."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    signing_key: rsa.RSAPrivateKey


def prepare(folder: Path, extra_names: tuple[str, ...] = ()) -> Pki:
    """Make what is missing in the folder. The server certificate is made anew: its names may have changed."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_cert, ca_key = _authority(folder)
    names = ("localhost", "127.0.0.1", "::1", *extra_names)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _server_certificate(key.public_key(), ca_cert, ca_key, names)
    cert_file, key_file = folder / "server.crt", folder / "server.key"
    cert_file.write_bytes(cert_pem(cert) + cert_pem(ca_cert))
    _write_key(key_file, key)
    return Pki(folder / "ca.crt", cert_file, key_file, _signing_key(folder))


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    cert_file, key_file = folder / "ca.crt", folder / "ca.key"
    if cert_file.exists() and key_file.exists():
        known = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(known, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_file} was not written by the sandbox")
        return x509.load_pem_x509_certificate(cert_file.read_bytes()), known
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _ca_certificate(key)
    cert_file.write_bytes(cert_pem(cert))
    _write_key(key_file, key)
    return cert, key


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Entra sandbox CA")])
    public = key.public_key()
    builder = _builder(name, name, 10 * _YEAR).public_key(public)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(key_usage(ca=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.sign(key, hashes.SHA256())


def _server_certificate(
    public: ec.EllipticCurvePublicKey,
    ca_cert: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: tuple[str, ...],
) -> x509.Certificate:
    # Strict verifiers (Python 3.13, Go) want the key identifiers and usages spelled out.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        ca_cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    builder = _builder(subject, ca_cert.subject, _YEAR).public_key(public)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage(ca=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    builder = builder.add_extension(issuer_id, critical=False)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([general_name(n) for n in names]), critical=False
    )
    return builder.sign(ca_key, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, life: dt.timedelta) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + life)


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """What the key of an authority, or of anybody else, may be used for."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(name: str) -> x509.GeneralName:
    """An address or a host name as certificates write it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signing_key(folder: Path) -> rsa.RSAPrivateKey:
    file = folder / "signing.key"
    if file.exists():
        known = serialization.load_pem_private_key(file.read_bytes(), None)
        if not isinstance(known, rsa.RSAPrivateKey):
            raise ValueError(f"{file} was not written by the sandbox")
        return known
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(file, key)
    return key


def cert_pem(cert: x509.Certificate) -> bytes:
    """The certificate as text."""
    return cert.public_bytes(serialization.Encoding.PEM)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
