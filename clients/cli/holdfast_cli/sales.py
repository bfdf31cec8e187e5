"""`holdfast sale`: open, watch and end sales."""

from typing import Annotated, Final

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1 import sale_pb2
from holdfast_cli import sale_report, stock_watch
from holdfast_cli.arguments import Limit, Sale, choices, parse_choice, parse_duration, parse_item, parse_time
from holdfast_cli.output import Format, as_json, table_of
from holdfast_cli.session import Session, command

app: Final = typer.Typer(no_args_is_help=True, help="Open, watch and end sales.")

SaleId = Annotated[str, typer.Argument(metavar="ID", help="The new sale's id: letters, digits, -, _ and dots.")]
Items = Annotated[
    list[sale_pb2.Item],
    typer.Option("--item", parser=parse_item, metavar="ITEM=UNITS[:LIMIT]", help="An item with its stock. Repeatable."),
]
Opens = Annotated[
    Timestamp | None,
    typer.Option("--opens", parser=parse_time, metavar="TIME", help="2026-12-04T10:00, now or +10m."),
]
Closes = Annotated[Timestamp | None, typer.Option("--closes", parser=parse_time, metavar="TIME", help="As --opens.")]
PerCustomer = Annotated[
    int | None, typer.Option("--per-customer", metavar="UNITS", min=0, help="The most for one customer; 0: no limit.")
]
Hold = Annotated[
    Duration | None,
    typer.Option("--hold", parser=parse_duration, metavar="DURATION", help="How long units are held: 90s, 2m."),
]
MaxHold = Annotated[
    Duration | None,
    typer.Option("--max-hold", parser=parse_duration, metavar="DURATION", help="The longest hold, with extensions."),
]
State = Annotated[str | None, typer.Option("--state", metavar="STATE", help=f"One of {choices(sale_pb2.Sale.State)}.")]


def _create(
    session: Session,
    *,
    sale_id: SaleId,
    items: Items,
    opens: Opens = None,
    closes: Closes = None,
    per_customer: PerCustomer = None,
    hold: Hold = None,
    max_hold: MaxHold = None,
) -> Message:
    """Create a sale with its items. It is open at once unless --opens says when."""
    sale = sale_pb2.Sale(
        open_time=opens,
        close_time=closes,
        per_customer_limit=per_customer or 0,
        hold_time=hold,
        max_hold_time=max_hold,
        items=items,
    )
    return session.client.create_sale(sale_id=sale_id, sale=sale)


command(app, "create", "sale create drop-1 --item sneaker-42=50 --per-customer 2 --opens +10m --hold 2m")(_create)


def _list(
    session: Session,
    *,
    state: State = None,
    schedule: Annotated[str, typer.Option(metavar="SCHEDULE", help="Only the sales of this schedule.")] = "",
    limit: Limit = 50,
) -> None:
    """List sales, the newest first."""
    name = f"saleSchedules/{schedule.removeprefix('saleSchedules/')}" if schedule else ""
    wanted = sale_pb2.Sale.STATE_UNSPECIFIED if state is None else parse_choice(sale_pb2.Sale.State, state)
    session.show_all(session.client.list_sales(state=wanted, schedule=name), limit)


command(app, "list", "sale list --state open")(_list)


def _show(session: Session, *, sale: Sale) -> Message | None:
    """Show a sale and the stock of its items."""
    found = session.client.get_sale(name=sale)
    items = list(session.client.list_items(parent=sale))
    if session.output is Format.JSON:
        session.console.print_json(data=as_json(found) | {"items": [as_json(item) for item in items]})
        return None
    session.show(found)
    if items:
        session.console.print()
        session.console.print(table_of(items))
    return None


command(app, "show", "sale show drop-1")(_show)


def _update(
    session: Session,
    *,
    sale: Sale,
    opens: Opens = None,
    closes: Closes = None,
    per_customer: PerCustomer = None,
    hold: Hold = None,
    max_hold: MaxHold = None,
) -> Message:
    """Change the rules of a sale: those that are given."""
    given = {
        "open_time": opens,
        "close_time": closes,
        "per_customer_limit": per_customer,
        "hold_time": hold,
        "max_hold_time": max_hold,
    }
    changed = {field: value for field, value in given.items() if value is not None}
    if not changed:
        raise typer.BadParameter("nothing to change: give --opens, --closes, --per-customer, --hold or --max-hold")
    return _changed(session, sale, **changed)


def _changed(session: Session, sale: str, **fields: object) -> Message:
    message = sale_pb2.Sale(name=sale, **fields)  # type: ignore[arg-type]
    return session.client.update_sale(sale=message, update_mask=FieldMask(paths=list(fields)))


command(app, "update", "sale update drop-1 --closes +1h --per-customer 4")(_update)


def _open(session: Session, *, sale: Sale) -> Message:
    """Open a scheduled sale now, before its time."""
    found = session.client.get_sale(name=sale)
    if found.state == sale_pb2.Sale.PAUSED:
        session.note("It is paused: resuming it.")
        return session.client.resume_sale(name=sale)
    if found.state != sale_pb2.Sale.SCHEDULED:
        session.note(f"It is {sale_pb2.Sale.State.Name(found.state)}, not SCHEDULED: nothing to open.")
        return found
    return _changed(session, sale, open_time=parse_time("now"))


command(app, "open", "sale open drop-1")(_open)


def _pause(session: Session, *, sale: Sale) -> Message:
    """Refuse new holds until the sale is resumed. Customers who hold units may still buy them."""
    return session.client.pause_sale(name=sale)


command(app, "pause", "sale pause drop-1")(_pause)


def _resume(session: Session, *, sale: Sale) -> Message:
    """Accept new holds again."""
    return session.client.resume_sale(name=sale)


command(app, "resume", "sale resume drop-1")(_resume)


def _ended_by_cancel(session: Session, *, sale: Sale) -> str:
    found = session.client.get_sale(name=sale)
    items = list(session.client.list_items(parent=sale))
    held, sold = sum(item.held for item in items), sum(item.sold for item in items)
    return (
        f"{sale} is {sale_pb2.Sale.State.Name(found.state)}. Cancelling is final: customers can no longer buy from it,"
        f" and the {held} units that customers hold now are released. The {sold} units that are sold stay sold."
    )


def _cancel(session: Session, *, sale: Sale) -> Message:
    """End a sale for good, and release its open holds."""
    return session.client.cancel_sale(name=sale)


command(app, "cancel", "sale cancel drop-1 --dry-run", asks=_ended_by_cancel)(_cancel)


def _watch(session: Session, *, sale: Sale) -> None:
    """Follow the stock of a sale until Ctrl-C: left, held and sold. With JSON, a line for each change."""
    stock_watch.follow(session, sale)


command(app, "watch", "sale watch drop-1")(_watch)


def _report(session: Session, *, sale: Sale) -> Message | None:
    """Tell how a sale went: sold, held, returned, refused and by reason, and how fast it sold."""
    report = session.client.get_sale_report(name=sale)
    if session.output is Format.JSON:
        return report
    sale_report.show(session.console, report)
    return None


command(app, "report", "sale report drop-1")(_report)


def _ended_by_delete(session: Session, *, sale: Sale) -> str:
    found = session.client.get_sale(name=sale)
    return (
        f"{sale} is {sale_pb2.Sale.State.Name(found.state)}. It is deleted with its items, which is possible only while"
        " nothing was ever held or sold; otherwise cancel it."
    )


def _delete(session: Session, *, sale: Sale) -> None:
    """Delete a sale from which nothing was ever held or sold."""
    session.client.delete_sale(name=sale)
    session.note(f"{sale} is deleted")


command(app, "delete", "sale delete drop-1", asks=_ended_by_delete)(_delete)


def _changes(session: Session, *, sale: Sale, limit: Limit = 50) -> None:
    """List who changed a sale, when, and what."""
    session.show_all(session.client.list_sale_changes(parent=sale), limit)


command(app, "changes", "sale changes drop-1")(_changes)


def _movements(
    session: Session,
    *,
    sale: Sale,
    after: Annotated[int, typer.Option("--after", metavar="SEQUENCE", min=0, help="Only those after this one.")] = 0,
    limit: Limit = 50,
) -> None:
    """List the movements of a sale's stock, oldest first: its ledger."""
    session.show_all(session.client.list_movements(parent=sale, after_sequence=after), limit)


command(app, "movements", "sale movements drop-1 --after 1000")(_movements)


def _verify(session: Session, *, sale: Sale) -> Message:
    """Check that the movements of a sale sum up to its stock."""
    return session.client.verify_ledger(name=sale)


command(app, "verify", "sale verify drop-1")(_verify)
