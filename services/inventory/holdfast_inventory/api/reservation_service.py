"""ReservationService: holds stock for customers, and sells it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tracing import SpanContext, context_in
from holdfast_inventory.api import messages, page_tokens, reservation_requests
from holdfast_inventory.api.access import CommandAccess
from holdfast_inventory.api.admission_tokens import AdmissionTokens
from holdfast_inventory.api.call import Call, request_id_in, trace_id_in
from holdfast_inventory.api.failures import hide_unproven
from holdfast_inventory.api.names import reservation_name
from holdfast_inventory.api.rates import Rates
from holdfast_inventory.api.refusals import refusal_of
from holdfast_inventory.api.reservation_requests import CreateRequest
from holdfast_inventory.domain.commands import Command, Create
from holdfast_inventory.domain.decide import Answer, Done, Reply
from holdfast_inventory.domain.errors import DomainError, NotFound
from holdfast_inventory.domain.reservation import Line

if TYPE_CHECKING:
    from holdfast_inventory.postgres.catalog import Catalog
    from holdfast_inventory.stock.stock_ledger import StockLedger

log = get_logger("holdfast.commands")


class Refusals(Protocol):
    """A record of refused creates. It is told of each, so it must be cheap, and must not wait."""

    def note(self, sale_id: str, customer: str, lines: tuple[Line, ...], refusal: DomainError) -> None:
        """Note that a create was refused."""


CommandCount = Callable[[str, str], None]
"""Called for each command of a Submit with the corresponding method and the reason of its refusal (or `OK`)."""

_CREATES = (Create, CreateRequest)
_METHODS = {
    "create": "CreateReservation",
    "confirm": "ConfirmReservation",
    "release": "ReleaseReservation",
    "extend": "ExtendReservation",
}


_Wanted = tuple[CreateRequest | Command, float, "SpanContext | None"]
"""A command, its deadline, and its caller's span."""


class ReservationService:
    """The methods of ReservationService. They raise DomainError for a refusal."""

    def __init__(
        self,
        ledger: "StockLedger",
        catalog: "Catalog",
        count: CommandCount,
        refusals: Refusals,
        entropy: Entropy = SYSTEM_ENTROPY,
        access: CommandAccess | None = None,
        admission_tokens: AdmissionTokens | None = None,
        rates: Rates | None = None,
    ) -> None:
        """With `access` None every caller may do everything. With `admission_tokens` None they are ignored, and with
        `rates` None commands are not counted.
        """
        self._ledger = ledger
        self._catalog = catalog
        self._count = count
        self._refusals = refusals
        self._entropy = entropy
        self._access = access
        self._admission_tokens = admission_tokens
        self._rates = rates

    async def create_reservation(self, request: pb.CreateReservationRequest, call: Call) -> pb.Reservation:
        """Hold stock, or sell it at once."""
        wanted = await self._admitted(reservation_requests.create(request, call.principal))
        if wanted.request_id:
            command = wanted.bound_command(await self._ledger.salt(wanted.sale_id, call.deadline))
        else:
            command = wanted.command(self._entropy.uuid4())
        try:
            return await self._execute(wanted.sale_id, command, call)
        except DomainError as refusal:
            self._note(wanted.sale_id, command, refusal)
            raise

    async def confirm_reservation(self, request: pb.ConfirmReservationRequest, call: Call) -> pb.Reservation:
        """Sell the units of a reservation."""
        return await self._execute(*reservation_requests.confirm(request, call.principal), call)

    async def release_reservation(self, request: pb.ReleaseReservationRequest, call: Call) -> pb.Reservation:
        """Give a hold back."""
        return await self._execute(*reservation_requests.release(request, call.principal), call)

    async def extend_reservation(self, request: pb.ExtendReservationRequest, call: Call) -> pb.Reservation:
        """Move a hold's end."""
        return await self._execute(*reservation_requests.extend(request), call)

    async def return_reservation(self, request: pb.ReturnReservationRequest, call: Call) -> pb.Reservation:
        """Take sold units back."""
        wanted = reservation_requests.return_units(request)
        change_id = await self._ledger.stock_change_id(wanted.sale_id, wanted.request_id, call.deadline)
        return await self._execute(wanted.sale_id, wanted.command(change_id), call)

    async def get_reservation(self, request: pb.GetReservationRequest, _: Call) -> pb.Reservation:
        """Read one."""
        wanted = reservation_requests.get(request)
        known = await self._catalog.get_reservation(wanted.sale_id, wanted.reservation_id)
        if wanted.customer and wanted.customer != known.customer:
            raise NotFound(reservation_name(wanted.sale_id, wanted.reservation_id))
        return messages.reservation(wanted.sale_id, known)

    async def list_reservations(self, request: pb.ListReservationsRequest, _: Call) -> pb.ListReservationsResponse:
        """List reservations of one sale or of all."""
        page = reservation_requests.list_reservations(request)
        found, cursor = await self._catalog.list_reservations(page.wanted, page.page_size, page.cursor)
        return pb.ListReservationsResponse(
            reservations=[messages.reservation(*each) for each in found],
            next_page_token=page_tokens.next_page(cursor, page.filters),
        )

    async def submit(self, request: pb.SubmitRequest, call: Call) -> pb.SubmitResponse:
        """Execute independent commands. A command that is malformed or not allowed does not affect the others."""
        if self._access is not None:
            self._access.require_any(call.principal, request.commands)
        sale_id = reservation_requests.submit(request)
        wanted = await self._all_wanted(request.commands, sale_id, call)
        accepted = [command for command in wanted if not isinstance(command, DomainError)]
        # Only if some command is allowed: the answer depends on whether the sale exists.
        salt = await self._ledger.salt(sale_id, call.deadline) if accepted else b""
        executed = iter(await self._ledger.execute_all(sale_id, [self._bound(*each, salt) for each in accepted]))
        response = pb.SubmitResponse()
        tells = log.is_enabled_for(logging.DEBUG)
        for given, command in zip(request.commands, wanted, strict=True):
            if isinstance(command, DomainError):
                told: Answer = command
            else:
                told = next(executed)
                if isinstance(told, DomainError):
                    self._note(sale_id, command[0], told)
            reason = _fill_outcome(response.outcomes.add(), sale_id, told, call)
            method = _METHODS.get(given.WhichOneof("command") or "", "Submit")
            self._count(method, reason)
            if tells:
                _tell(given, method, reason)
        return response

    async def _all_wanted(
        self, commands: Sequence[pb.Command], sale_id: str, call: Call
    ) -> Sequence[_Wanted | DomainError]:
        if self._rates is None or call.rate_counted:
            return [await self._wanted(given, sale_id, call) for given in commands]
        # Together, so that their rates are counted in one trip.
        return await asyncio.gather(*(self._wanted(given, sale_id, call) for given in commands))

    async def _wanted(self, given: pb.Command, sale_id: str, call: Call) -> _Wanted | DomainError:
        """Return a command, its deadline, no later than the call's, and its caller's span, if calls are traced; or why
        it is not allowed.
        """
        try:
            caller = call.principal if self._access is None else await self._access.claim(call.principal, given)
            if self._rates is not None:
                await self._rates.count_command(call, caller, given)
            command = reservation_requests.command(given, sale_id, caller)
            timeout_seconds = reservation_requests.timeout_seconds(given)
            if isinstance(command, CreateRequest):
                command = await self._admitted(command)
        except DomainError as refusal:
            return refusal
        span = None if call.span is None else context_in(given.traceparent)
        if timeout_seconds is None:
            return command, call.deadline, span
        return command, min(call.deadline, asyncio.get_running_loop().time() + timeout_seconds), span

    def _bound(
        self, command: CreateRequest | Command, deadline: float, span: SpanContext | None, salt: bytes
    ) -> tuple[Command, float, SpanContext | None]:
        if isinstance(command, CreateRequest):
            command = command.bound_command(salt) if command.request_id else command.command(self._entropy.uuid4())
        return command, deadline, span

    async def _admitted(self, wanted: CreateRequest) -> CreateRequest:
        """Return a create with its admission. Raises AdmissionRequired and IssuerUnavailable."""
        if not wanted.admission_token or self._admission_tokens is None:
            return wanted
        try:
            admission = await self._admission_tokens.admission(wanted.admission_token, wanted.sale_id, wanted.customer)
        except DomainError as refusal:
            self._note(wanted.sale_id, wanted, refusal)
            raise
        return wanted._replace(admission=admission)

    def _note(self, sale_id: str, command: CreateRequest | Command, refusal: DomainError) -> None:
        """Note a refused create, unless it names what does not exist."""
        if isinstance(command, _CREATES) and not isinstance(refusal, NotFound):
            self._refusals.note(sale_id, command.customer, command.lines, refusal)

    async def _execute(self, sale_id: str, command: Command, call: Call) -> pb.Reservation:
        done = _done(await self._ledger.execute(sale_id, command, call.deadline))
        call.replayed = done.replayed
        return messages.reservation(sale_id, done.reservation)


def _fill_outcome(outcome: pb.Outcome, sale_id: str, answer: Answer, call: Call) -> str:
    """Say in `outcome` what became of a command; returns why it was refused (`OK`: it was not)."""
    if isinstance(answer, DomainError):
        refusal = refusal_of(hide_unproven(call, answer))
        outcome.error.CopyFrom(refusal.status)
        return refusal.reason
    done = _done(answer)
    messages.fill_reservation(outcome.reservation, sale_id, done.reservation)
    outcome.replayed = done.replayed
    return "OK"


def _tell(given: pb.Command, method: str, reason: str) -> None:
    log.debug(
        "command",
        method=method,
        reason=reason,
        request_id=request_id_in(given.correlation_id),
        trace_id=trace_id_in(given.traceparent),
    )


def _done(reply: Reply) -> Done:
    if not isinstance(reply, Done):
        raise TypeError(f"a command for a reservation was answered with {reply!r}")
    return reply
