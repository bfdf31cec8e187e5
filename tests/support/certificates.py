"""Certificate authorities and certificates for tests, made with openssl."""

import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, in files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, directory, name="ca", issuer=None):
        """`issuer`: the authority over this one; None: it is its own."""
        self._directory = directory
        self._own = Certificate(directory / f"{name}.crt", directory / f"{name}.key")
        issued_by = () if issuer is None else ("-CA", issuer._own.certificate, "-CAkey", issuer._own.key)
        _openssl("-x509", *_EC_KEY, *_files(self._own), "-subj", f"/CN={name}", *issued_by)
        self._chain = b"" if issuer is None else self.certificate.read_bytes()

    @property
    def certificate(self):
        """The file that clients trust."""
        return self._own.certificate

    def trust(self, directory, *others):
        """Let a workload's directory trust this authority and the others only. The file is replaced at once."""
        draft = directory / "new-ca.crt"
        draft.write_bytes(b"".join(each.certificate.read_bytes() for each in (self, *others)))
        draft.rename(directory / "ca.crt")

    def issue(self, name, *, host="127.0.0.1"):
        """Write a certificate for `name` in files of that name. Existing files are replaced atomically."""
        draft = Certificate(self._directory / "draft.crt", self._directory / "draft.key")
        kind = "IP" if host[0].isdigit() else "DNS"
        _openssl(
            *("-x509", *_EC_KEY, *_files(draft), "-subj", f"/CN={name}"),
            *("-CA", self._own.certificate, "-CAkey", self._own.key),
            *("-addext", f"subjectAltName={kind}:{host}", "-addext", "basicConstraints=critical,CA:FALSE"),
        )
        return Certificate(
            draft.certificate.rename(self._directory / f"{name}.crt"), draft.key.rename(self._directory / f"{name}.key")
        )

    def equip(self, directory, *names):
        """Writes the three files by which a workload proves these DNS names, and returns the directory. What was there
        is replaced, each file at once.
        """
        directory.mkdir(exist_ok=True)
        draft = Certificate(directory / "new.crt", directory / "new.key")
        hosts = ",".join(f"DNS:{name}" for name in names)
        _openssl(
            *("-x509", *_EC_KEY, *_files(draft), "-subj", f"/CN={names[0]}"),
            *("-CA", self._own.certificate, "-CAkey", self._own.key),
            *("-addext", f"subjectAltName={hosts}", "-addext", "basicConstraints=critical,CA:FALSE"),
        )
        if not (directory / "ca.crt").exists():
            (directory / "ca.crt").write_bytes(self.certificate.read_bytes())
        draft.certificate.write_bytes(draft.certificate.read_bytes() + self._chain)
        draft.key.rename(directory / "tls.key")
        draft.certificate.rename(directory / "tls.crt")
        return directory

    def expire(self, directory):
        """Replaces the certificate in a directory by one that ended yesterday, and returns the directory."""
        former = x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes())
        key = load_pem_private_key(self._own.key.read_bytes(), None)
        renewed = x509.CertificateBuilder(former.issuer, former.subject, former.public_key(), former.serial_number)
        renewed = renewed.not_valid_before(former.not_valid_before_utc - timedelta(days=2))
        renewed = renewed.not_valid_after(former.not_valid_after_utc - timedelta(days=3))
        for extension in former.extensions:
            renewed = renewed.add_extension(extension.value, extension.critical)
        pem = renewed.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        (directory / "tls.crt").write_bytes(pem)
        return directory


def write_certificate(directory, name="localhost"):
    """Write a self-signed tls.crt and tls.key as a certificate manager does, and return the certificate. Existing files
    are replaced atomically.
    """
    draft = Certificate(directory / "new.crt", directory / "new.key")
    hosts = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    _openssl("-x509", *_EC_KEY, *_files(draft), "-subj", f"/CN={name}", "-addext", hosts)
    draft.key.rename(directory / "tls.key")
    return draft.certificate.rename(directory / "tls.crt").read_bytes()


def _files(certificate):
    return "-out", certificate.certificate, "-keyout", certificate.key


def _openssl(*arguments):
    subprocess.run(["openssl", "req", *arguments], check=True, capture_output=True, timeout=20)
