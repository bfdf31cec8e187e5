"""Refusals of access. The contract has the properties of each reason."""

from dataclasses import dataclass


class AccessRefused(Exception):
    """A refusal because of the caller's identity. Its text is safe to show and contains no part of the credential."""


@dataclass(eq=False)
class Unauthenticated(AccessRefused):
    """The credential is missing or invalid. `error` is the code of RFC 6750; empty if it is missing."""

    detail: str
    error: str = "invalid_token"

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class PermissionDenied(AccessRefused):
    """The caller may not do this. `scope` has the scopes of which any one would allow it, separated by spaces."""

    detail: str
    scope: str = ""

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class IssuerUnavailable(AccessRefused):
    """The keys of the tokens' issuer cannot be fetched, so the token cannot be checked."""

    retry_after_seconds: float

    def __str__(self) -> str:
        return "the keys of the tokens' issuer cannot be fetched"
