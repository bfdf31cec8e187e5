"""Certificate authorities and certificates for tests, made with openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, in files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, directory, name="ca"):
        self._directory = directory
        self._own = Certificate(directory / f"{name}.crt", directory / f"{name}.key")
        _openssl("-x509", *_EC_KEY, *_files(self._own), "-subj", f"/CN={name}")

    @property
    def certificate(self):
        """The file that clients trust."""
        return self._own.certificate

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
