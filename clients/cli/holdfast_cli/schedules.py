"""`holdfast schedule`: sales that open by themselves, every period."""

from typing import Annotated, Final

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1 import sale_pb2
from holdfast_cli.arguments import Limit, RequestId, Schedule, parse_duration, parse_time
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
        Duration | None,
        typer.Option("--every", parser=parse_duration, metavar="DURATION", help="From one opening to the next."),
    ] = None,
    cron: Annotated[
        str, typer.Option("--cron", metavar="CRON", help='Instead of --every, as "0 10 * * FRI": Fridays at ten.')
    ] = "",
    time_zone: Annotated[
        str, typer.Option("--time-zone", metavar="ZONE", help="Whose clocks --cron means: Europe/Berlin.")
    ] = "UTC",
    except_dates: Annotated[
        list[str] | None, typer.Option("--except", metavar="DATE", help="With --cron: no sale opens then. Repeatable.")
    ] = None,
    offset: Annotated[
        Duration | None,
        typer.Option("--offset", parser=parse_duration, metavar="DURATION", help="Open this much later."),
    ] = None,
    starts: Annotated[
        Timestamp | None, typer.Option("--starts", parser=parse_time, metavar="TIME", help="No sale opens earlier.")
    ] = None,
    ends: Annotated[
        Timestamp | None, typer.Option("--ends", parser=parse_time, metavar="TIME", help="No sale opens then or later.")
    ] = None,
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
    """Create a schedule, by a period or by a calendar."""
    if (every is None) == (not cron):
        raise typer.BadParameter("give either --every or --cron")
    calendar = sale_pb2.SaleSchedule.Calendar(cron=cron, time_zone=time_zone, exclude_dates=except_dates or ())
    if remainder not in _REMAINDERS:
        raise typer.BadParameter(f"{remainder!r} is not one of {', '.join(_REMAINDERS)}")
    template = sale_pb2.Sale(per_customer_limit=per_customer or 0, hold_time=hold, items=items)
    schedule = sale_pb2.SaleSchedule(
        period=every,
        calendar=calendar if cron else None,
        offset=offset,
        start_time=starts,
        end_time=ends,
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


def _pause(session: Session, *, schedule: Schedule) -> Message:
    """Create no more sales until it is resumed."""
    return session.client.pause_sale_schedule(name=schedule)


command(app, "pause", "schedule pause hourly")(_pause)


def _resume(session: Session, *, schedule: Schedule) -> Message:
    """Create sales again."""
    return session.client.resume_sale_schedule(name=schedule)


command(app, "resume", "schedule resume hourly")(_resume)


def _run(session: Session, *, schedule: Schedule, request_id: RequestId = "") -> Message:
    """Open a sale of the schedule now, beside its own times."""
    return session.client.run_sale_schedule(name=schedule, request_id=request_id)


command(app, "run", "schedule run hourly")(_run)


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
