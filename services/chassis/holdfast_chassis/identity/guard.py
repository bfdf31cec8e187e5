"""What a method asks of its callers. Pure: it knows the contract, and neither transports nor credentials."""

from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from holdfast_chassis.contract import method_of
from holdfast_chassis.identity.principal import ANONYMOUS, OWN, Principal
from holdfast_chassis.identity.refusals import PermissionDenied, Unauthenticated


class Guard:
    """Lets a principal call one method: `admit` before the request is read, `claim` when it has been."""

    def __init__(self, descriptor: MethodDescriptor) -> None:
        fields = descriptor.input_type.fields_by_name
        scopes = method_of(descriptor).scopes
        self._scopes = frozenset(scopes)
        self._any_customers_scopes = self._scopes - {OWN}
        self._wanted = " ".join(scopes)
        self._wanted_for_others = " ".join(scope for scope in scopes if scope != OWN)
        self._takes_customer = "customer" in fields
        self._takes_actor = "actor" in fields

    def admit(self, principal: Principal) -> None:
        """Raise Unauthenticated or PermissionDenied unless the principal may call the method at all."""
        if principal is ANONYMOUS:
            raise Unauthenticated("a credential is needed: Authorization: Bearer ...", error="")
        if self._scopes.isdisjoint(principal.scopes):
            raise PermissionDenied(f"the caller needs the scope {self._wanted.replace(' ', ' or ')}", self._wanted)

    def claim(self, principal: Principal, request: Any) -> None:  # noqa: ANN401 - a message of any type
        """Make the request the principal's own: whom it is for, and who did it. Raises PermissionDenied."""
        if self._takes_customer and self._any_customers_scopes.isdisjoint(principal.scopes):
            if request.customer not in ("", principal.customer):
                raise PermissionDenied("the token is for another customer", self._wanted_for_others)
            request.customer = principal.customer
        if self._takes_actor:
            if request.actor not in ("", principal.name):
                raise PermissionDenied("a caller can give no other actor than itself")
            request.actor = principal.name
