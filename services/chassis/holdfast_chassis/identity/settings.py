"""The settings of authentication. Both services have them and may share one environment file."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from holdfast_chassis.identity.reloaded import is_fetchable
from holdfast_chassis.lifecycle import CannotStartError
from holdfast_chassis.settings import ServiceSettings


class IdentitySettings(ServiceSettings):
    """The settings of authentication. Without them every caller is admitted, but only on loopback."""

    token_issuer: str | None = Field(None, description="The issuer (`iss`) of accepted tokens.")
    token_jwks: str | None = Field(
        None, description="The issuer's public keys: a file, or a URL (https, or http on this machine)."
    )
    token_audience: str = Field("holdfast", min_length=1, description="The `aud` that tokens must have.")
    token_customer_claim: str = Field("sub", min_length=1, description="The claim that names a buyer's customer.")
    token_scope_claim: str = Field("scope", min_length=1, description="The claim that has the scopes.")
    token_leeway_seconds: float = Field(
        30.0, ge=0, le=300, description="The allowed difference between the issuer's clock and this machine's."
    )
    revoked_tokens_path: Path | None = Field(
        None,
        description="A file with the ids (`jti`) of tokens that are refused before they expire, one a line. It is read "
        "again when it changes.",
    )
    jwks_refresh_seconds: float = Field(300.0, ge=1, description="How often keys at a URL are fetched again.")
    jwks_stale_seconds: float = Field(
        86_400.0, ge=1, description="How long keys from a URL are used after it stopped answering."
    )
    api_keys_path: Path | None = Field(
        None, description="The file of API keys, which `key create` writes. It is read again when it changes."
    )
    api_keys: SecretStr | None = Field(
        None, description="The content of that file, if secrets cannot be files. It is read once."
    )
    allow_anonymous: bool = Field(
        False,
        description="Whether to serve every caller without authentication beyond loopback. Gives up all access "
        "control.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.token_issuer is None) != (self.token_jwks is None):
            raise ValueError("token_issuer and token_jwks must be set together")
        require_readable("token_jwks", self.token_jwks)
        if self.api_keys is not None and self.api_keys_path is not None:
            raise ValueError("api_keys and api_keys_path exclude each other")
        return self

    @property
    def knows_callers(self) -> bool:
        """Whether callers need a credential."""
        return any(known is not None for known in (self.token_issuer, self.api_keys_path, self.api_keys))


def require_readable(name: str, jwks: str | None) -> None:
    """Raise ValueError unless the setting `name` is unset, a file, or a URL from which keys may come."""
    if jwks is not None and "://" in jwks and not is_fetchable(jwks):
        raise ValueError(f"{name} must be a file, or a URL of https without a user")


def require_safe_listener(settings: IdentitySettings, host: str) -> None:
    """Raise CannotStartError if every caller would be served beyond loopback without a setting that allows it."""
    if settings.knows_callers or settings.allow_anonymous or _is_loopback(host):
        return
    raise CannotStartError(
        f"it listens on {host} and would let every caller do everything: set HOLDFAST_TOKEN_ISSUER and "
        "HOLDFAST_TOKEN_JWKS, or HOLDFAST_API_KEYS_PATH, or listen on 127.0.0.1, or allow this with "
        "HOLDFAST_ALLOW_ANONYMOUS=true"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
