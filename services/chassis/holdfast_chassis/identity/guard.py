"""The authorization of a method. Pure: it depends on the contract, not on transports or credentials."""

from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from holdfast_chassis.contract import method_of
from holdfast_chassis.identity.principal import ANONYMOUS, OWN, Principal
from holdfast_chassis.identity.refusals import PermissionDenied, Unauthenticated


class Guard:
    """The authorization rules of one method: `admit` is called before the request is read, `claim` afterwards."""

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
        """Raise Unauthenticated or PermissionDenied unless the principal may call the method."""
        if principal is ANONYMOUS:
            raise Unauthenticated("a credential is required: Authorization: Bearer ...", error="")
        if self._scopes.isdisjoint(principal.scopes):
            raise PermissionDenied(f"the caller needs the scope {self._wanted.replace(' ', ' or ')}", self._wanted)

    def claim(self, principal: Principal, request: Any) -> None:  # noqa: ANN401 - a message of any type
        """Set the request's customer and actor to the principal's. Raises PermissionDenied."""
        if self._takes_customer and self._any_customers_scopes.isdisjoint(principal.scopes):
            if request.customer not in ("", principal.customer):
                raise PermissionDenied("the token is for another customer", self._wanted_for_others)
            request.customer = principal.customer
        if self._takes_actor:
            if request.actor not in ("", principal.name):
                raise PermissionDenied("the actor must be the caller itself")
            request.actor = principal.name
