"""An issuer of tokens and API keys for demonstrations: files in the data directory, without a server."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.identity.api_keys import GRANTABLE, new_key, render_keys
from holdfast_chassis.identity.principal import OWN

BUYER: Final = "c-1"
_ISSUER = "https://demo.holdfast.dev"
_AUDIENCE = "holdfast"
_KID = "demo"
_ALGORITHM = "ES256"
_BUYERS_MINUTES = 24 * 60.0
_SCOPES = {"operator": sorted(GRANTABLE), "shop": ["reservations.write"]}


class DemoIssuer:
    """The credentials of a demo's callers. They are kept between runs."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the data directory."""
        self._directory = directory / "identity"
        self._private = self._directory / "issuer.pem"
        self._jwks = self._directory / "jwks.json"
        self._keys = self._directory / "keys.json"

    @property
    def exists(self) -> bool:
        """Whether it exists, from this run or an earlier one."""
        return self._private.exists()

    def make(self) -> None:
        """Create missing files, and always a new token of the buyer, because tokens expire."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if not self.exists:
            self._make_keys()
            self._make_issuer()
        _write(self.path_of("buyer"), self.token(BUYER, [OWN], _BUYERS_MINUTES))

    def path_of(self, caller: str) -> Path:
        """Return the file with the credential of `buyer`, `shop` or `operator`."""
        return self._directory / caller

    def credential(self, caller: str) -> str:
        """Return the credential itself."""
        return self.path_of(caller).read_text().strip()

    def token(self, subject: str, scopes: list[str], minutes: float) -> str:
        """Return a new token."""
        now = SYSTEM_CLOCK.now()
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": subject,
            "scope": " ".join(scopes),
            "iat": now,
            "exp": now + timedelta(minutes=minutes),
        }
        private = load_pem_private_key(self._private.read_bytes(), None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._private} is not a key of the demo")
        return jwt.encode(claims, private, _ALGORITHM, {"kid": _KID})

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the settings of the services. Reflection and documentation are on, so that callers can explore."""
        return {
            "HOLDFAST_TOKEN_ISSUER": _ISSUER,
            "HOLDFAST_TOKEN_AUDIENCE": _AUDIENCE,
            "HOLDFAST_TOKEN_JWKS": str(self._jwks),
            "HOLDFAST_API_KEYS_PATH": str(self._keys),
            "HOLDFAST_REFLECTION": "true",
            "HOLDFAST_DOCS": "true",
        }

    def _make_keys(self) -> None:
        made = {name: new_key(name, scopes, None) for name, scopes in _SCOPES.items()}
        for name, (secret, _) in made.items():
            _write(self.path_of(name), secret)
        _write(self._keys, render_keys(key for _, key in made.values()))

    def _make_issuer(self) -> None:
        private = ec.generate_private_key(ec.SECP256R1())
        public = jwt.get_algorithm_by_name(_ALGORITHM).to_jwk(private.public_key(), as_dict=True)
        _write(self._jwks, json.dumps({"keys": [{**public, "kid": _KID, "use": "sig", "alg": _ALGORITHM}]}))
        _write(self._private, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
