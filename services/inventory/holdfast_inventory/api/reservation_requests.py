"""Checks requests of ReservationService and converts them to the domain's types."""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_chassis.field_rules import rules_at
from holdfast_chassis.identity.principal import ANONYMOUS, Principal
from holdfast_inventory.api.checks import ID_RULE, Checking, Checks
from holdfast_inventory.api.names import match_id
from holdfast_inventory.domain.commands import Admission, Command, Confirm, Create, Extend, Release, Return
from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest
from holdfast_inventory.domain.identity import create_fingerprint, reservation_id, return_fingerprint
from holdfast_inventory.domain.labels import notes_text
from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line, ReservationFilter, ReservationState, merge_lines
from holdfast_inventory.domain.sale import LONGEST_HOLD_TIME

MAX_LINES: int = rules_at(pb.CreateReservationRequest.DESCRIPTOR, "lines").repeated.max_items
MAX_LINE_UNITS: int = rules_at(pb.Line.DESCRIPTOR, "quantity").int32.lte
MAX_TOKEN_CHARACTERS: int = rules_at(pb.CreateReservationRequest.DESCRIPTOR, "admission_token").string.max_len
MAX_COMMANDS: int = rules_at(pb.SubmitRequest.DESCRIPTOR, "commands").repeated.max_items
MIN_RESERVATION_HOLD_TIME: timedelta = rules_at(
    pb.CreateReservationRequest.DESCRIPTOR, "hold_time"
).duration.gte.ToTimedelta()
_is_token = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_TOKEN_CHARACTERS}}}").fullmatch
LONGEST_TIMEOUT: timedelta = rules_at(pb.Command.DESCRIPTOR, "timeout").duration.lte.ToTimedelta()


class CreateRequest(NamedTuple):
    """A create without an id yet, which needs the sale's salt or a random number."""

    sale_id: str
    customer: str
    lines: tuple[Line, ...]
    hold_time: timedelta | None
    allow_partial: bool
    confirm: bool
    order: str
    request_id: str
    admission_token: str
    actor: str
    by_buyer: bool
    admission: Admission = Admission.NONE
    notes: str | None = None

    def command(self, new_id: UUID) -> Create:
        """Return the command with a random id, for a request without a request id."""
        return self._command(new_id, bound=False)

    def bound_command(self, salt: bytes) -> Create:
        """Return the command with the id to which its request id is bound in the sale of `salt`."""
        return self._command(reservation_id(salt, self.customer, self.request_id), bound=True)

    def _command(self, identity: UUID, *, bound: bool) -> Create:
        fingerprint = create_fingerprint(
            self.customer,
            self.lines,
            self.hold_time,
            allow_partial=self.allow_partial,
            confirm=self.confirm,
            order=self.order,
            notes=self.notes,
        )
        return Create(
            identity,
            self.customer,
            self.lines,
            self.hold_time,
            self.allow_partial,
            self.confirm,
            self.order,
            fingerprint,
            bound,
            self.actor,
            self.by_buyer,
            self.admission,
            self.notes,
        )


def create(
    request: pb.CreateReservationRequest, caller: Principal = ANONYMOUS, sale_id: str | None = None
) -> CreateRequest:
    """Check a create by `caller`. In a Submit for `sale_id` its parent may be missing."""
    with Checking() as checks:
        if sale_id is None or request.parent:
            sale_id = _same_sale(checks, "parent", checks.sale("parent", request.parent), sale_id)
        if request.admission_token and _is_token(request.admission_token) is None:
            checks.violated("admission_token", f"must be a JWT of at most {MAX_TOKEN_CHARACTERS} characters")
        order = checks.text("order", request.order)
        if order and not request.confirm:
            checks.violated("order", "may be set only with confirm")
        hold_time = None
        if request.HasField("hold_time"):
            hold_time = checks.duration("hold_time", request.hold_time, MIN_RESERVATION_HOLD_TIME, LONGEST_HOLD_TIME)
        return CreateRequest(
            sale_id=sale_id,
            customer=checks.required_text("customer", request.customer),
            lines=_lines(checks, request.lines),
            hold_time=hold_time,
            allow_partial=request.allow_partial,
            confirm=request.confirm,
            order=order,
            request_id=checks.request_id("request_id", request.request_id),
            admission_token=request.admission_token,
            actor=caller.name,
            by_buyer=caller.is_buyer,
            notes=_notes(checks, request),
        )


def confirm(
    request: pb.ConfirmReservationRequest, caller: Principal = ANONYMOUS, sale_id: str | None = None
) -> tuple[str, Confirm]:
    """Check a confirmation by `caller`; in a Submit, for `sale_id`."""
    with Checking() as checks:
        named_sale_id, identity = checks.reservation("name", request.name)
        order = checks.text("order", request.order)
        _same_sale(checks, "name", named_sale_id, sale_id)
        customer = checks.text("customer", request.customer)
        command = Confirm(identity, order, request.allow_late, customer, caller.name, caller.is_buyer)
    return named_sale_id, command


def release(
    request: pb.ReleaseReservationRequest, caller: Principal = ANONYMOUS, sale_id: str | None = None
) -> tuple[str, Release]:
    """Check a release by `caller`; in a Submit, for `sale_id`."""
    with Checking() as checks:
        named_sale_id, identity = checks.reservation("name", request.name)
        _same_sale(checks, "name", named_sale_id, sale_id)
        command = Release(identity, checks.text("customer", request.customer), caller.name)
    return named_sale_id, command


def extend(request: pb.ExtendReservationRequest, sale_id: str | None = None) -> tuple[str, Extend]:
    """Check an extension; in a Submit, for `sale_id`."""
    with Checking() as checks:
        named_sale_id, identity = checks.reservation("name", request.name)
        if not request.HasField("expire_time"):
            checks.violated("expire_time", "must be set")
        expires_at = checks.timestamp("expire_time", request.expire_time)
        _same_sale(checks, "name", named_sale_id, sale_id)
        command = Extend(identity, expires_at, checks.text("customer", request.customer))
    return named_sale_id, command


@dataclass(frozen=True, slots=True)
class ReturnRequest:
    """A return without an id yet, which needs the sale's salt or a random number."""

    sale_id: str
    reservation_id: UUID
    lines: tuple[Line, ...]
    restock: bool
    reason: AdjustReason
    customer: str
    actor: str
    request_id: str

    def command(self, change_id: UUID) -> Return:
        """Return the command under an id."""
        fingerprint = return_fingerprint(self.reservation_id, self.lines, self.reason, restock=self.restock)
        return Return(
            change_id,
            self.reservation_id,
            self.lines,
            self.restock,
            self.reason,
            self.customer,
            self.actor,
            fingerprint,
        )


def return_units(request: pb.ReturnReservationRequest) -> ReturnRequest:
    """Check a return."""
    with Checking() as checks:
        sale_id, identity = checks.reservation("name", request.name)
        return ReturnRequest(
            sale_id=sale_id,
            reservation_id=identity,
            lines=_lines(checks, request.lines) if request.lines else (),
            restock=request.restock or not request.HasField("restock"),
            reason=checks.choice("reason", request.reason, AdjustReason) or AdjustReason.RETURNED,
            customer=checks.text("customer", request.customer),
            actor=checks.text("actor", request.actor),
            request_id=checks.request_id("request_id", request.request_id),
        )


@dataclass(frozen=True, slots=True)
class GetRequest:
    """A reservation to read; with `customer`, only if it belongs to this customer."""

    sale_id: str
    reservation_id: UUID
    customer: str


def get(request: pb.GetReservationRequest) -> GetRequest:
    """Check a read."""
    with Checking() as checks:
        sale_id, identity = checks.reservation("name", request.name)
        customer = checks.text("customer", request.customer)
    return GetRequest(sale_id, identity, customer)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A page of reservations to list. The next page's token is bound to `filters`."""

    wanted: ReservationFilter
    page_size: int
    cursor: str | None
    filters: tuple[str, ...]


def list_reservations(request: pb.ListReservationsRequest) -> ListRequest:
    """Check a list."""
    with Checking() as checks:
        wanted = ReservationFilter(
            sale_id=checks.sale_or_all("parent", request.parent),
            customer=checks.text("customer", request.customer) or None,
            order=checks.text("order", request.order) or None,
            state=checks.choice("state", request.state, ReservationState),
            created_from=checks.time_if_set("from_create_time", request),
            created_before=checks.time_if_set("before_create_time", request),
            ended_from=checks.time_if_set("from_end_time", request),
            ended_before=checks.time_if_set("before_end_time", request),
        )
        filters = ("reservations, newest first", *map(str, astuple(wanted)))
        page_size = checks.page_size("page_size", request.page_size)
        return ListRequest(wanted, page_size, checks.page_token("page_token", request.page_token, *filters), filters)


def submit(request: pb.SubmitRequest) -> str:
    """Check a Submit, without its commands, which `command` checks one by one. Return the sale's id."""
    with Checking() as checks:
        sale_id = checks.sale("parent", request.parent)
        if not 1 <= len(request.commands) <= MAX_COMMANDS:
            checks.violated("commands", f"must be 1 to {MAX_COMMANDS}")
    return sale_id


def command(request: pb.Command, sale_id: str, caller: Principal = ANONYMOUS) -> CreateRequest | Command:
    """Check one command, by `caller`, of a Submit for `sale_id`."""
    match request.WhichOneof("command"):
        case "create":
            return create(request.create, caller, sale_id)
        case "confirm":
            return confirm(request.confirm, caller, sale_id)[1]
        case "release":
            return release(request.release, caller, sale_id)[1]
        case "extend":
            return extend(request.extend, sale_id)[1]
    raise InvalidRequest((FieldViolation("command", "must be one of create, confirm, release, extend"),))


def timeout_seconds(request: pb.Command) -> float | None:
    """Check the timeout of a command's caller; None if there is none."""
    if not request.HasField("timeout"):
        return None
    with Checking() as checks:
        timeout = checks.duration("timeout", request.timeout, timedelta(0), LONGEST_TIMEOUT)
    return timeout.total_seconds()


def _notes(checks: Checks, request: pb.CreateReservationRequest) -> str | None:
    display_name, labels, metadata = request.display_name, request.labels, request.metadata
    if not (display_name or labels or metadata):
        return None
    return notes_text(
        checks.text("display_name", display_name),
        checks.labels("labels", labels),
        checks.metadata("metadata", metadata),
    )


def _lines(checks: Checks, lines: Sequence[pb.Line]) -> tuple[Line, ...]:
    if not 1 <= len(lines) <= MAX_LINES:
        checks.violated("lines", f"must be 1 to {MAX_LINES} lines")
        return ()
    wanted = []
    for index, line in enumerate(lines):
        item_id, quantity = line.item, line.quantity
        # Checked here and not by checks.resource_id and checks.number, because building paths costs more than the
        # rules.
        if match_id(item_id) is None:
            checks.violated(f"lines[{index}].item", ID_RULE)
        if not 1 <= quantity <= MAX_LINE_UNITS:
            checks.violated(f"lines[{index}].quantity", f"must be 1 to {MAX_LINE_UNITS}")
        wanted.append(Line(item_id, quantity))
    return tuple(wanted) if len(wanted) == 1 else merge_lines(wanted)


def _same_sale(checks: Checks, field: str, named_sale_id: str, sale_id: str | None) -> str:
    if sale_id is not None and named_sale_id and named_sale_id != sale_id:
        checks.violated(field, f"must be in the Submit's sale, sales/{sale_id}")
    return named_sale_id
