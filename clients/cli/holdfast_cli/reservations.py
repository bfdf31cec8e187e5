"""`holdfast reservation`: find, finish and return purchases."""

from collections.abc import Iterable
from typing import Annotated, Final

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast.inventory.v1.movement_pb2 import Movement
from holdfast_cli.arguments import (
    Limit,
    RequestId,
    Reservation,
    Sale,
    choices,
    parse_choice,
    parse_duration,
    parse_line,
    parse_time,
)
from holdfast_cli.session import Session, command
from holdfast_cli.stock import Reason

app: Final = typer.Typer(no_args_is_help=True, help="Find, finish and return purchases.")

Lines = Annotated[
    list[pb.Line], typer.Argument(parser=parse_line, metavar="ITEM[=UNITS]...", help="Units of items: cap or cap=2.")
]
Order = Annotated[str, typer.Option("--order", metavar="ORDER", help="The shop's own reference.")]
Customer = Annotated[str, typer.Option("--customer", metavar="CUSTOMER", help="Only of this customer.")]
State = Annotated[str, typer.Option("--state", metavar="STATE", help=f"One of {choices(pb.Reservation.State)}.")]


def _find(
    session: Session,
    *,
    sale: Annotated[str, typer.Option("--sale", metavar="SALE", help="Only of this sale. Default: of all.")] = "-",
    customer: Customer = "",
    order: Annotated[str, typer.Option("--order", metavar="ORDER", help="Only with this order.")] = "",
    state: State = "",
    since: Annotated[
        Timestamp | None,
        typer.Option("--since", parser=parse_time, metavar="TIME", help="Only those created then or later."),
    ] = None,
    before: Annotated[
        Timestamp | None,
        typer.Option("--before", parser=parse_time, metavar="TIME", help="Only those created earlier."),
    ] = None,
    limit: Limit = 50,
) -> None:
    """Find reservations, the newest first."""
    found = session.client.list_reservations(
        parent=f"sales/{sale.removeprefix('sales/')}",
        customer=customer,
        order=order,
        state=parse_choice(pb.Reservation.State, state) if state else pb.Reservation.STATE_UNSPECIFIED,
        from_create_time=since,
        before_create_time=before,
        page_size=min(limit + 1, 1000) if limit else 1000,
    )
    session.show_all(found, limit)


command(app, "find", "reservation find --customer c-1 --state confirmed")(_find)


def _show(session: Session, *, reservation: Reservation) -> Message:
    """Show a reservation."""
    return session.client.get_reservation(name=reservation)


command(app, "show", "reservation show sales/drop-1/reservations/ID")(_show)


def _create(
    session: Session,
    *,
    sale: Sale,
    lines: Lines,
    customer: Annotated[str, typer.Option("--customer", metavar="CUSTOMER", help="Who buys.")],
    hold: Annotated[
        Duration | None,
        typer.Option("--hold", parser=parse_duration, metavar="DURATION", help="How long. Default: as the sale says."),
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Sell at once, without a hold.")] = False,
    order: Order = "",
    request_id: RequestId = "",
) -> Message:
    """Hold units for a customer, or sell them at once."""
    return session.client.create_reservation(
        parent=sale,
        customer=customer,
        lines=lines,
        hold_time=hold,
        confirm=confirm,
        order=order,
        request_id=request_id,
    )


command(app, "create", "reservation create drop-1 sneaker-42=2 --customer c-1")(_create)


def _confirm(session: Session, *, reservation: Reservation, order: Order = "") -> Message:
    """Sell the units that a reservation holds."""
    return session.client.confirm_reservation(name=reservation, order=order)


command(app, "confirm", "reservation confirm sales/drop-1/reservations/ID --order o-77")(_confirm)


def _ended_by_release(session: Session, *, reservation: Reservation) -> str:
    found = session.client.get_reservation(name=reservation)
    return f"{found.customer} loses the hold of {_units(found.lines)}; they are for sale again at once."


def _release(session: Session, *, reservation: Reservation) -> Message:
    """Give the units of a hold back; they are for sale again at once."""
    return session.client.release_reservation(name=reservation)


command(app, "release", "reservation release sales/drop-1/reservations/ID", asks=_ended_by_release)(_release)


ReturnedLines = Annotated[
    list[pb.Line] | None,
    typer.Argument(parser=parse_line, metavar="[ITEM[=UNITS]]...", help="What comes back. Default: all that is left."),
]
WriteOff = Annotated[bool, typer.Option("--write-off", help="The units are not for sale again.")]


def _ended_by_return(
    session: Session,
    *,
    reservation: Reservation,
    lines: ReturnedLines = None,
    write_off: WriteOff = False,
    reason: Reason = "returned",
    request_id: RequestId = "",
) -> str:
    del reason, request_id
    found = session.client.get_reservation(name=reservation)
    units = _units(lines) if lines else f"all that is left of {_units(found.lines)}"
    what = "They are written off." if write_off else "They are for sale again."
    returned = f" Returned before: {_units(found.returned_lines)}." if found.returned_lines else ""
    return f"{found.customer} gives {units} of order {found.order or '(none)'} back.{returned} {what}"


def _return(
    session: Session,
    *,
    reservation: Reservation,
    lines: ReturnedLines = None,
    write_off: WriteOff = False,
    reason: Reason = "returned",
    request_id: RequestId = "",
) -> Message:
    """Take sold units back, all or some; they no longer count for the customer's limit."""
    return session.client.return_reservation(
        name=reservation,
        lines=lines or (),
        restock=not write_off,
        reason=parse_choice(Movement.AdjustReason, reason),
        request_id=request_id,
    )


command(
    app, "return", "reservation return sales/drop-1/reservations/ID cap=1 --request-id rma-9", asks=_ended_by_return
)(_return)


def _units(lines: Iterable[pb.Line]) -> str:
    return ", ".join(f"{line.quantity} {line.item}" for line in lines)
