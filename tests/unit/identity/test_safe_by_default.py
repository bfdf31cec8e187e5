"""Every caller is served on loopback, or if a setting allows it; elsewhere callers must authenticate."""

import pytest
from pydantic import ValidationError

from holdfast_chassis.identity.settings import IdentitySettings, require_safe_listener
from holdfast_chassis.lifecycle import CannotStartError
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import InventorySettings

ISSUER = {"token_issuer": "https://issuer.example", "token_jwks": "/etc/jwks.json"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_serves_everybody(host):
    require_safe_listener(IdentitySettings(), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "192.168.1.1", "shop.example", ""])
def test_another_listener_needs_to_know_callers(host):
    with pytest.raises(CannotStartError, match="would let every caller do everything") as refused:
        require_safe_listener(IdentitySettings(), host)
    assert "\n" not in str(refused.value)
    require_safe_listener(IdentitySettings(allow_anonymous=True), host)
    require_safe_listener(IdentitySettings(**ISSUER), host)
    require_safe_listener(IdentitySettings(api_keys_path="/etc/keys.json"), host)


@pytest.mark.parametrize("name", ISSUER)
def test_an_issuer_and_its_keys_need_each_other(name):
    with pytest.raises(ValidationError, match="must be set together"):
        IdentitySettings(**{name: ISSUER[name]})


def test_a_port_without_tls_needs_one_with_tls():
    with pytest.raises(ValidationError, match="grpc_plain_port needs grpc_tls_dir"):
        InventorySettings(database_url="postgresql://db/holdfast", grpc_plain_port=50051)
    with pytest.raises(ValidationError, match="http_plain_port needs http_tls_dir"):
        GatewaySettings(http_plain_port=8080)


@pytest.mark.parametrize("location", ["http://issuer.example/jwks.json", "ftp://127.0.0.1/x", "file:///etc/jwks.json"])
def test_keys_do_not_come_in_the_clear(location):
    with pytest.raises(ValidationError, match="a URL of https"):
        IdentitySettings(**ISSUER | {"token_jwks": location})
