"""Authentication and authorization of requests."""

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast_chassis.identity import refusals
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.guard import Guard
from holdfast_chassis.identity.principal import ANONYMOUS, Principal
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
        with _as_problems():
            principal = await self._authenticator.principal_of(authorization)
            self._guard.admit(principal)
        return principal

    def claim(self, principal: Principal, request: DynamicMessage) -> None:
        """Set the request's customer or actor to the principal's. Raises ProblemError."""
        if self._authenticator is not None:
            with _as_problems():
                self._guard.claim(principal, request)


@contextmanager
def _as_problems() -> Iterator[None]:
    """Convert refusals of access to the problems that the inventory's refusals would become."""
    try:
        yield
    except refusals.Unauthenticated as error:
        problem = Problem(UNAUTHENTICATED, str(error), metadata={"error": error.error} if error.error else {})
    except refusals.PermissionDenied as error:
        problem = Problem(PERMISSION_DENIED, str(error), metadata={"scope": error.scope} if error.scope else {})
    except refusals.IssuerUnavailable as error:
        problem = Problem(ISSUER_UNAVAILABLE, str(error), retry_after_seconds=error.retry_after_seconds)
    else:
        return
    raise ProblemError(problem)
