"""Why a caller is not let in. The contract says what is true of each reason."""

from dataclasses import dataclass


class AccessRefused(Exception):
    """A refusal for who the caller is. Its text is safe to show to the caller, and has nothing of the credential."""


@dataclass(eq=False)
class Unauthenticated(AccessRefused):
    """There is no credential, or none that is valid. `error` is RFC 6750's code; empty: there is no credential."""

    detail: str
    error: str = "invalid_token"

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class PermissionDenied(AccessRefused):
    """The caller may not do this. `scope`: what would allow it; of several, separated by spaces, any one."""

    detail: str
    scope: str = ""

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class IssuerUnavailable(AccessRefused):
    """The keys of the tokens' issuer cannot be fetched: a token can be neither accepted nor refused."""

    retry_after_seconds: float

    def __str__(self) -> str:
        return "the keys of the tokens' issuer cannot be fetched"
