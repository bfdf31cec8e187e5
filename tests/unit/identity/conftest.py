from contextlib import asynccontextmanager

import pytest

from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.settings import IdentitySettings
from tests.support.issuer import ISSUER, SigningKey, jwks


@pytest.fixture
def key():
    return SigningKey()


@pytest.fixture
def jwks_path(tmp_path, key):
    path = tmp_path / "jwks.json"
    path.write_text(jwks(key))
    return path


@pytest.fixture
def authenticating(jwks_path):
    """Run an authenticator of the issuer's, with settings of the test's own."""

    @asynccontextmanager
    async def run(clock=None, **settings):
        chosen = {"token_issuer": ISSUER, "token_jwks": str(jwks_path)} | settings
        authenticator = Authenticator(IdentitySettings(**chosen), *([clock] if clock else []))
        await authenticator.start()
        try:
            yield authenticator
        finally:
            await authenticator.stop()

    return run


@pytest.fixture
async def authenticator(authenticating):
    async with authenticating() as running:
        yield running
