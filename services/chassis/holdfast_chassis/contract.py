"""The contract's options of methods and of refusal reasons, read once from the protos."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from google.api import annotations_pb2
from google.protobuf.descriptor import EnumValueDescriptor, MethodDescriptor, ServiceDescriptor

from holdfast.inventory.v1 import (
    customer_service_pb2,
    refusal_pb2,
    reservation_service_pb2,
    sale_service_pb2,
    webhook_service_pb2,
)
from holdfast.options.v1 import options_pb2

ERROR_DOMAIN = "inventory.holdfast.dev"
"""The domain of every google.rpc.ErrorInfo."""

RETRYABLE_KEY = "retryable"
"""The key of ErrorInfo's metadata that says whether a retry can help: `true` or `false`."""

RESERVATION_SERVICE: ServiceDescriptor = reservation_service_pb2.DESCRIPTOR.services_by_name["ReservationService"]
SALE_SERVICE: ServiceDescriptor = sale_service_pb2.DESCRIPTOR.services_by_name["SaleService"]
WEBHOOK_SERVICE: ServiceDescriptor = webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"]
CUSTOMER_SERVICE: ServiceDescriptor = customer_service_pb2.DESCRIPTOR.services_by_name["CustomerService"]
SERVICES = (RESERVATION_SERVICE, SALE_SERVICE, WEBHOOK_SERVICE, CUSTOMER_SERVICE)
SERVICE_NAMES = tuple(service.full_name for service in SERVICES)


class Kind(IntEnum):
    """The kind of a method, as explained in options.proto."""

    READ = options_pb2.MethodRules.KIND_READ
    WATCH = options_pb2.MethodRules.KIND_WATCH
    BEGIN = options_pb2.MethodRules.KIND_BEGIN
    FINISH = options_pb2.MethodRules.KIND_FINISH
    MANAGE = options_pb2.MethodRules.KIND_MANAGE

    @property
    def changes_nothing(self) -> bool:
        """Whether the method changes nothing, so that its outcome does not matter and it can be repeated."""
        return self in (Kind.READ, Kind.WATCH)


@dataclass(frozen=True, slots=True)
class Binding:
    """The REST binding of a method: `post`, `/v1/{parent=sales/*}/reservations` and the field for the body."""

    http_method: str
    template: str
    body: str


@dataclass(frozen=True, slots=True)
class Method:
    """The properties of a method.

    `path` is its gRPC path, `/package.Service/Method`; `request` is the full name of its request message; `refusals`
    are the names of the reasons for which the state of its resource may forbid it; a caller needs any one of `scopes`;
    `carries_credentials`: each of its commands may have a credential of its own.
    """

    name: str
    path: str
    request: str
    kind: Kind
    repeatable: bool
    scopes: tuple[str, ...]
    carries_credentials: bool
    refusals: tuple[str, ...]
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """The properties of a refusal reason. `code` is the number of its gRPC code."""

    name: str
    code: int
    http_status: int
    title: str
    retryable: bool

    @property
    def problem_type(self) -> str:
        """The type of its problem+json: an identifier, not a page to fetch."""
        return f"https://{ERROR_DOMAIN}/problems/{self.name.lower().replace('_', '-')}"


def method_of(descriptor: MethodDescriptor) -> Method:
    """Return the properties of a method. Raises ValueError if the contract does not define them."""
    rules = descriptor.GetOptions().Extensions[options_pb2.method]
    if rules.kind == options_pb2.MethodRules.KIND_UNSPECIFIED:
        raise ValueError(f"{descriptor.full_name}: the contract does not say what kind of method it is")
    if not rules.scopes:
        raise ValueError(f"{descriptor.full_name}: the contract does not say which scope it needs")
    path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
    return Method(
        name=descriptor.name,
        path=path,
        request=descriptor.input_type.full_name,
        kind=Kind(rules.kind),
        repeatable=rules.repeatable,
        scopes=tuple(rules.scopes),
        carries_credentials=rules.carries_credentials,
        refusals=tuple(rules.refusals),
        bindings=tuple(_bindings(descriptor)),
    )


def _bindings(descriptor: MethodDescriptor) -> Iterator[Binding]:
    options = descriptor.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    rule = options.Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        http_method = each.WhichOneof("pattern") or ""
        yield Binding(http_method, getattr(each, http_method, ""), each.body)


def _reason(value: EnumValueDescriptor) -> Reason:
    rules = value.GetOptions().Extensions[options_pb2.reason]
    return Reason(value.name, rules.code, rules.http_status, rules.title, rules.retryable)


METHODS = tuple(method_of(descriptor) for service in SERVICES for descriptor in service.methods)
"""All methods of the inventory's services."""

REASONS: Mapping[str, Reason] = {
    value.name: _reason(value) for value in refusal_pb2.Refusal.Reason.DESCRIPTOR.values if value.number
}
"""All refusal reasons, by their names on the wire."""
