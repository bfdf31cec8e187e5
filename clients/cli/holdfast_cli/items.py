"""`holdfast item`: what a sale sells."""

import csv
from pathlib import Path
from typing import Annotated, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from rich.progress import track

from holdfast.inventory.v1 import sale_pb2
from holdfast_cli.arguments import ItemId, Limit, RequestId, Sale, item_of
from holdfast_cli.session import Session, command
from holdfast_client.refusals import AlreadyExists

app: Final = typer.Typer(no_args_is_help=True, help="Show and add what a sale sells.")

Units = Annotated[int, typer.Option("--units", metavar="UNITS", min=0, max=2**31 - 1, help="Its first stock.")]
PerCustomer = Annotated[
    int,
    typer.Option("--per-customer", metavar="UNITS", min=0, max=2**31 - 1, help="The most for one customer; 0: any."),
]


def _list(session: Session, *, sale: Sale, limit: Limit = 50) -> None:
    """List the items of a sale with their stock."""
    session.show_all(session.client.list_items(parent=sale), limit)


command(app, "list", "item list drop-1")(_list)


def _show(session: Session, *, sale: Sale, item: ItemId) -> Message:
    """Show the stock of an item."""
    return session.client.get_item(name=item_of(sale, item))


command(app, "show", "item show drop-1 sneaker-42")(_show)


def _create(session: Session, *, sale: Sale, item: ItemId, units: Units = 0, per_customer: PerCustomer = 0) -> Message:
    """Add an item to a sale."""
    stock = sale_pb2.Item(on_hand=units, per_customer_limit=per_customer)
    return session.client.create_item(parent=sale, item_id=item, item=stock)


command(app, "create", "item create drop-1 cap --units 100 --per-customer 1")(_create)


def _update(
    session: Session,
    *,
    sale: Sale,
    item: ItemId,
    units: Annotated[
        int | None, typer.Option("--units", metavar="UNITS", min=0, max=2**31 - 1, help="What is there, held or not.")
    ] = None,
    per_customer: Annotated[
        int | None,
        typer.Option(
            "--per-customer", metavar="UNITS", min=0, max=2**31 - 1, help="The most for one customer; 0: any."
        ),
    ] = None,
    expected_version: Annotated[
        int | None, typer.Option("--if-version", metavar="VERSION", help="Only if this is still the item's version.")
    ] = None,
    request_id: RequestId = "",
) -> Message:
    """Set an item's stock after a count, or its limit."""
    given = {"on_hand": units, "per_customer_limit": per_customer}
    changed = {field: value for field, value in given.items() if value is not None}
    if not changed:
        raise typer.BadParameter("nothing to change: give --units or --per-customer")
    return session.client.update_item(
        item=sale_pb2.Item(name=item_of(sale, item), **changed),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=list(changed)),
        expected_version=expected_version,
        request_id=request_id,
    )


command(app, "update", "item update drop-1 sneaker-42 --units 48 --if-version 17")(_update)


def _import(
    session: Session,
    *,
    sale: Sale,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="With item,units lines.")],
) -> None:
    """Add the items of a CSV file with the columns item, units and, optionally, per_customer.

    Items that exist already are left as they are, so that an import that was interrupted can be repeated.
    """
    items = list(_rows(file))
    existing = 0
    for item in track(items, "adding items", console=session.errors, disable=not session.errors.is_terminal):
        try:
            session.client.create_item(parent=sale, item_id=item.item, item=item)
        except AlreadyExists:
            existing += 1
    session.note(f"{len(items) - existing} items added; {existing} existed already")


command(app, "import", "item import drop-1 items.csv")(_import)


def _rows(file: Path) -> list[sale_pb2.Item]:
    """Read the whole file, before the first item is added. Raises BadParameter with the line's number."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.DictReader(opened)
        return [_row(file, reader.line_num, row) for row in reader]


def _row(file: Path, number: int, row: dict[str, str]) -> sale_pb2.Item:
    try:
        return sale_pb2.Item(
            item=row["item"].strip(), on_hand=int(row["units"]), per_customer_limit=int(row.get("per_customer") or 0)
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise typer.BadParameter(f"{file}, line {number}: not item,units[,per_customer]: {error}") from error
