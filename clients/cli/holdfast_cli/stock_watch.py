"""A sale's stock, redrawn at each change."""

import json

from rich.live import Live
from rich.table import Table

from holdfast.inventory.v1.sale_pb2 import Item
from holdfast_cli.output import Format, as_json
from holdfast_cli.session import Session

_BAR = 30


def follow(session: Session, sale: str) -> None:
    """Show the stock until interrupted; as JSON, or where the output is not a terminal, a line for each event."""
    if session.output is Format.JSON:
        for event in session.client.watch_stock(name=sale):
            session.console.print(json.dumps(as_json(event)), soft_wrap=True, markup=False, highlight=False)
        return
    items: dict[str, Item] = {}
    if not session.console.is_terminal:
        for event in session.client.watch_stock(name=sale):
            for item in (*event.snapshot.items, *event.change.items):
                session.console.print(
                    f"{item.item}: {item.available} left, {item.held} held, {item.sold} sold", soft_wrap=True
                )
        return
    with Live(console=session.console, auto_refresh=False) as live:
        for event in session.client.watch_stock(name=sale):
            items |= {item.item: item for item in (*event.snapshot.items, *event.change.items)}
            live.update(_table(sale, items), refresh=True)


def _table(sale: str, items: dict[str, Item]) -> Table:
    table = Table(title=f"{sale}   (Ctrl-C ends the watch)", box=None, title_justify="left")
    for heading in ("item", "left", "held", "sold", ""):
        table.add_column(heading, justify="left" if heading in ("item", "") else "right")
    for item in items.values():
        table.add_row(item.item, str(item.available), str(item.held), str(item.sold), _bar(item))
    return table


def _bar(item: Item) -> str:
    """Return the item's stock as a bar: sold, held, left."""
    total = item.on_hand + item.sold
    if total == 0:
        return ""
    sold, gone = (round(_BAR * part / total) for part in (item.sold, item.sold + item.held))
    return f"[green]{'█' * sold}[/][yellow]{'▒' * (gone - sold)}[/][dim]{'░' * (_BAR - gone)}[/]"
