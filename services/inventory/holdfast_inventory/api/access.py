"""Authentication and authorization of calls."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_chassis.contract import RESERVATION_SERVICE
from holdfast_chassis.identity import refusals
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.guard import Guard
from holdfast_chassis.identity.principal import ANONYMOUS, Principal
from holdfast_chassis.identity.refusals import AccessRefused
from holdfast_inventory.domain.errors import DomainError, IssuerUnavailable, PermissionDenied, Unauthenticated

_METHODS = {method.input_type: method for method in RESERVATION_SERVICE.methods}
CARRIED = {
    field.name: _METHODS[field.message_type]
    for field in pb.Command.DESCRIPTOR.oneofs_by_name["command"].fields
    if field.message_type is not None
}
"""The methods that correspond to the commands of a Submit."""


class Access:
    """The guard of one method, which authenticates and authorizes its callers."""

    def __init__(self, authenticator: Authenticator, method: MethodDescriptor) -> None:
        self._authenticator = authenticator
        self._guard = Guard(method)

    async def admit(self, authorization: str | None, otherwise: Principal = ANONYMOUS) -> Principal:
        """Return the caller's principal if it is authorized; `otherwise` is the principal without a credential.

        Raises Unauthenticated, PermissionDenied, IssuerUnavailable.
        """
        try:
            principal = otherwise
            if authorization is not None:
                principal = await self._authenticator.principal_of(authorization)
            self._guard.admit(principal)
        except AccessRefused as refused:
            raise _as_domain_error(refused) from None
        return principal

    def claim(self, principal: Principal, request: Any) -> None:  # noqa: ANN401 - a message of any type
        """Set the request's customer or actor to the principal's. Raises PermissionDenied."""
        try:
            self._guard.claim(principal, request)
        except AccessRefused as refused:
            raise _as_domain_error(refused) from None


class CommandAccess:
    """The guard of Submit, which authorizes each command like a separate call."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._access = {name: Access(authenticator, method) for name, method in CARRIED.items()}

    def require_any(self, caller: Principal, commands: Sequence[pb.Command]) -> None:
        """Raise Unauthenticated if neither the call nor any command has a credential."""
        if caller is ANONYMOUS and not any(command.authorization for command in commands):
            raise Unauthenticated("a credential is required, for the call or for each command", "")

    async def claim(self, caller: Principal, command: pb.Command) -> Principal:
        """Return the principal of a command: by its own credential, or else `caller`, to whom it is then bound.

        Raises Unauthenticated, PermissionDenied, IssuerUnavailable.
        """
        kind = command.WhichOneof("command")
        if kind is None:
            return caller
        access = self._access[kind]
        principal = await access.admit(command.authorization or None, otherwise=caller)
        access.claim(principal, getattr(command, kind))
        return principal


def _as_domain_error(refused: AccessRefused) -> DomainError:
    """Convert a refusal of access to a domain error."""
    match refused:
        case refusals.PermissionDenied(detail, scope):
            return PermissionDenied(detail, scope)
        case refusals.IssuerUnavailable(retry_after_seconds):
            return IssuerUnavailable(retry_after_seconds)
        case refusals.Unauthenticated(detail, error):
            return Unauthenticated(detail, error)
    raise TypeError(f"a refusal that is not known: {refused!r}")
