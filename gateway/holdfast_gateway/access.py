"""Authentication and authorization of requests."""

from holdfast_chassis.identity import refusals
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.guard import Guard
from holdfast_chassis.identity.principal import ANONYMOUS, Principal
from holdfast_chassis.identity.refusals import AccessRefused
from holdfast_gateway.problems import ISSUER_UNAVAILABLE, PERMISSION_DENIED, UNAUTHENTICATED, Problem, ProblemError
from holdfast_gateway.routes import DynamicMessage, Route


class Access:
    """The guard of one route. Without an authenticator it admits every caller; the inventory may still refuse."""

    def __init__(self, authenticator: Authenticator | None, route: Route) -> None:
        self._authenticator = authenticator
        self._guard = Guard(route.rpc)

    async def admit(self, authorization: str | None) -> Principal:
        """Return the caller's principal if it is authorized. Raises ProblemError."""
        if self._authenticator is None:
            return ANONYMOUS
        try:
            principal = await self._authenticator.principal_of(authorization)
            self._guard.admit(principal)
        except AccessRefused as refused:
            raise ProblemError(_problem(refused)) from None
        return principal

    def claim(self, principal: Principal, request: DynamicMessage) -> None:
        """Make the request the principal's own. Raises ProblemError."""
        if self._authenticator is None:
            return
        try:
            self._guard.claim(principal, request)
        except AccessRefused as refused:
            raise ProblemError(_problem(refused)) from None


def _problem(refused: AccessRefused) -> Problem:
    """Return a refusal of access as it would be told if the inventory had given it."""
    match refused:
        case refusals.PermissionDenied(detail, scope):
            return Problem(PERMISSION_DENIED, detail, metadata={"scope": scope} if scope else {})
        case refusals.IssuerUnavailable(retry_after_seconds):
            return Problem(ISSUER_UNAVAILABLE, str(refused), retry_after_seconds=retry_after_seconds)
        case refusals.Unauthenticated(detail, error):
            return Problem(UNAUTHENTICATED, detail, metadata={"error": error} if error else {})
    raise TypeError(f"a refusal that is not known: {refused!r}")
