"""An issuer of tokens: its keys, the published key set, and tokens, also forged ones."""

import json
import time
from base64 import urlsafe_b64encode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

LIFE_SECONDS = 7200
"""The lifetime of a token: longer than a run of all tests."""
ISSUER = "https://issuer.example"
AUDIENCE = "holdfast"

_MAKERS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


class SigningKey:
    def __init__(self, kid="k-1", algorithm="ES256"):
        self.kid, self.algorithm = kid, algorithm
        self.private = _MAKERS[algorithm]()

    @property
    def jwk(self):
        """Its public key, as it is published."""
        text = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key())
        return json.loads(text) | {"kid": self.kid, "use": "sig", "alg": self.algorithm}

    def token(self, scope="reservations.own", *, header=None, **claims):
        """Return a token that is valid, unless a claim says otherwise; None leaves a claim out."""
        now = int(time.time())
        whole = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "c-1",
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_SECONDS,
            "scope": scope,
        } | claims
        present = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(present, self.private, self.algorithm, {"kid": self.kid} | (header or {}))


def admission_token(key, **claims):
    """Return a token that admits c-1 to sales/drop-1 for a minute, with other claims if given; None omits a claim."""
    whole = {"aud": "holdfast-admission", "sub": "c-1", "sale": "sales/drop-1", "exp": int(time.time()) + 60} | claims
    present = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(present, key.private, key.algorithm, {"kid": key.kid})


def jwks(*keys):
    """Return the key set that an issuer of these keys publishes."""
    return json.dumps({"keys": [key.jwk for key in keys]})


def unsigned(header, claims):
    """Return a token with that header and no signature."""
    return ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims)) + "."


def _encoded(raw):
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
