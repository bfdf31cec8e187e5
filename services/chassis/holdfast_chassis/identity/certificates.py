"""The certificate by which a workload proves itself to others: files that are read again when they change."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.identity.expiry import Expiry
from holdfast_chassis.identity.reloaded import Reloaded, read_file
from holdfast_chassis.identity.workload_files import AUTHORITIES, CERTIFICATE, KEY
from holdfast_chassis.lifecycle import CannotStartError

# What no PEM file contains.
_SEPARATOR = b"\0"


class Certificate(NamedTuple):
    """A certificate with its chain, its key, and the authorities of the other workloads, all as PEM."""

    chain: bytes
    key: bytes
    authorities: bytes
    ends_at: datetime
    name: str
    """Its first DNS name, or nothing."""


class CertificateFiles:
    """The newest certificate of a directory. One whose key does not match is not used."""

    def __init__(self, directory: Path, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
        """`name` says in metrics where it is used."""
        self.directory = directory
        self._name = name
        nothing: Certificate | None = None
        self._files: Reloaded[Certificate | None] = Reloaded(
            str(directory),
            lambda: _read(directory),
            parse_certificate,
            nothing,
            clock=clock,
        )

    async def start(self) -> None:
        """Start reading the files. Raises CannotStartError if they are unusable."""
        try:
            await self._files.start()
        except (OSError, ValueError) as error:
            raise CannotStartError(f"the certificate in {self.directory} cannot be used: {error}") from error

    async def stop(self) -> None:
        """Stop reading the files."""
        await self._files.stop()

    def on_change(self, act: Callable[[], None]) -> None:
        """Call `act` after each change of the certificate."""
        self._files.on_change = act

    def expiries(self) -> Iterator[Expiry]:
        """Return when the newest certificate expires."""
        if self._files.value is not None:
            yield Expiry("certificate", self._name, self._files.value.ends_at)

    @property
    def newest(self) -> Certificate:
        """The newest certificate. Raises RuntimeError before the start."""
        if self._files.value is None:
            raise RuntimeError(f"the certificate in {self.directory} has not been read yet")
        return self._files.value


def parse_certificate(raw: bytes) -> Certificate:
    """Return the certificate of files that were read together. Raises ValueError."""
    chain, key, authorities = raw.split(_SEPARATOR)
    leaf = x509.load_pem_x509_certificates(chain)[0]
    x509.load_pem_x509_certificates(authorities)
    try:
        fits = load_pem_private_key(key, None).public_key() == leaf.public_key()
    except TypeError as error:
        raise ValueError(f"{KEY} must not have a password") from error
    if not fits:
        raise ValueError(f"{KEY} is not the key of {CERTIFICATE}")
    return Certificate(chain, key, authorities, leaf.not_valid_after_utc, _name(leaf))


def read_certificate(directory: Path) -> Certificate:
    """Return the certificate of a directory. Raises OSError and ValueError."""
    return parse_certificate(_read(directory))


def _name(leaf: x509.Certificate) -> str:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return next(iter(names.get_values_for_type(x509.DNSName)), "")


def _read(directory: Path) -> bytes:
    return _SEPARATOR.join(read_file(directory / name) for name in (CERTIFICATE, KEY, AUTHORITIES))
