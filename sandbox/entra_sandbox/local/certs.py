"""The control plane's own certificates: one authority, the API server's certificate, and its clients'.

What is already in the folder is used again, so that a control plane which is started again in its folder
still trusts the kubeconfigs and service-account tokens that it gave out before.
"""

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from entra_sandbox.pki import cert_pem, general_name, key_usage

_LIFE = dt.timedelta(days=3650)
_SERVER_NAMES = (
    "127.0.0.1",
    "::1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Two PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """Every file that the control plane needs. All are PEM; keys are readable by their owner only."""

    ca: KeyPair
    server: KeyPair
    admin: KeyPair
    """A client in system:masters: may do everything."""
    controller_manager: KeyPair
    service_accounts: KeyPair
    """Signs service-account tokens; `cert` is the bare public key."""


def prepare(folder: Path) -> Certificates:
    """Make the certificates in the folder, or find them there from an earlier start."""
    done = Certificates(*(_pair(folder, name) for name in ("ca", "server", "admin", "manager", "tokens")))
    complete = folder / "complete"
    if complete.exists():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _authority(ca_key)
    _write(done.ca, cert_pem(ca), ca_key)
    issuer = (ca, ca_key)
    for pair, names, hosts in (
        (done.server, ("kube-apiserver", None), _SERVER_NAMES),
        (done.admin, ("admin", "system:masters"), ()),
        (done.controller_manager, ("system:kube-controller-manager", None), ()),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        _write(pair, cert_pem(_leaf(issuer, key.public_key(), names, hosts)), key)
    token_key = ec.generate_private_key(ec.SECP256R1())
    _write(done.service_accounts, _public_pem(token_key), token_key)
    complete.touch()  # last: a start that was cut short begins anew
    return done


def _pair(folder: Path, name: str) -> KeyPair:
    return KeyPair(folder / f"{name}.crt", folder / f"{name}.key")


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("control plane CA", None)
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(key_usage(ca=True), critical=True).sign(key, hashes.SHA256())


def _leaf(
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    public: ec.EllipticCurvePublicKey,
    names: tuple[str, str | None],
    hosts: tuple[str, ...],
) -> x509.Certificate:
    """Sign a server's certificate when there are hosts, else a client's.

    `names` are common name and organisation: to the API server a client's user and group.
    """
    ca, ca_key = issuer
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(_name(*names), ca.subject, public)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage(ca=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    # Strict verifiers (Python 3.13's default) want the authority spelled out.
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    builder = builder.add_extension(authority, critical=False)
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(host) for host in hosts]), critical=False
        )
    return builder.sign(ca_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    # An hour back: clocks of machines that share a folder differ.
    builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + _LIFE)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _name(common: str, organisation: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write(pair: KeyPair, cert: bytes, key: ec.EllipticCurvePrivateKey) -> None:
    # SEC 1 ("EC PRIVATE KEY"): the API server's token signer reads it, and so does everything else.
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    pair.cert.write_bytes(cert)
    pair.key.unlink(missing_ok=True)
    with os.fdopen(os.open(pair.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
