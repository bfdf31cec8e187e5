"""`holdfast schedule`: sales that open by themselves, every period."""

from typing import Annotated, Final

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from holdfast.inventory.v1 import sale_pb2
from holdfast_cli.arguments import Limit, Schedule, parse_duration
from holdfast_cli.sales import Hold, Items, PerCustomer
from holdfast_cli.session import Session, command

app: Final = typer.Typer(no_args_is_help=True, help="Open sales by themselves, every period.")

_REMAINDERS: Final = [
    name.lower().replace("_", "-") for name, number in sale_pb2.SaleSchedule.Remainder.items() if number
]


def _create(
    session: Session,
    *,
    schedule_id: Annotated[str, typer.Argument(metavar="ID", help="The new schedule's id.")],
    items: Items,
    every: Annotated[
        Duration,
        typer.Option("--every", parser=parse_duration, metavar="DURATION", help="From one opening to the next."),
    ],
    open_for: Annotated[
        Duration | None,
        typer.Option(
            "--open-for", parser=parse_duration, metavar="DURATION", help="Default: until the next one opens."
        ),
    ] = None,
    per_customer: PerCustomer = None,
    hold: Hold = None,
    source: Annotated[
        str, typer.Option("--source", metavar="SALE", help="The sale whose stock is drawn from. Default: new units.")
    ] = "",
    remainder: Annotated[
        str, typer.Option("--remainder", metavar="WHAT", help=f"What is left: {', '.join(_REMAINDERS)}.")
    ] = "stay",
) -> Message:
    """Create a schedule. It opens a sale every period, from now on."""
    if remainder not in _REMAINDERS:
        raise typer.BadParameter(f"{remainder!r} is not one of {', '.join(_REMAINDERS)}")
    template = sale_pb2.Sale(per_customer_limit=per_customer or 0, hold_time=hold, items=items)
    schedule = sale_pb2.SaleSchedule(
        period=every,
        open_duration=open_for,
        template=template,
        source_sale=f"sales/{source.removeprefix('sales/')}" if source else "",
        remainder=sale_pb2.SaleSchedule.Remainder.Value(remainder.upper().replace("-", "_")),
    )
    return session.client.create_sale_schedule(schedule_id=schedule_id, sale_schedule=schedule)


command(app, "create", "schedule create hourly --every 1h --item ticket=10000 --per-customer 4")(_create)


def _list(session: Session, *, limit: Limit = 50) -> None:
    """List schedules."""
    session.show_all(session.client.list_sale_schedules(), limit)


command(app, "list", "schedule list")(_list)


def _show(session: Session, *, schedule: Schedule) -> Message:
    """Show a schedule."""
    return session.client.get_sale_schedule(name=schedule)


command(app, "show", "schedule show hourly")(_show)


def _ended_by_delete(session: Session, *, schedule: Schedule) -> str:
    session.client.get_sale_schedule(name=schedule)
    return f"{schedule} opens no more sales. Those that it has created stay as they are."


def _delete(session: Session, *, schedule: Schedule) -> None:
    """Delete a schedule. The sales that it has created stay as they are."""
    session.client.delete_sale_schedule(name=schedule)
    session.note(f"{schedule} is deleted")


command(app, "delete", "schedule delete hourly", asks=_ended_by_delete)(_delete)


def _changes(session: Session, *, schedule: Schedule, limit: Limit = 50) -> None:
    """List who changed a schedule, and when."""
    session.show_all(session.client.list_sale_schedule_changes(parent=schedule), limit)


command(app, "changes", "schedule changes hourly")(_changes)
