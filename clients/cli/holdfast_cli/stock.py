"""`holdfast stock`: change and move stock."""

from typing import Annotated, Final

import typer
from google.protobuf.message import Message

from holdfast.inventory.v1.movement_pb2 import Movement
from holdfast_cli.arguments import ItemId, RequestId, Sale, choices, item_of, parse_choice
from holdfast_cli.session import Session, command

app: Final = typer.Typer(no_args_is_help=True, help="Change stock by hand, and move it between sales.")

Reason = Annotated[str, typer.Option("--reason", metavar="REASON", help=f"One of {choices(Movement.AdjustReason)}.")]


def _adjust(
    session: Session,
    *,
    sale: Sale,
    item: ItemId,
    delta: Annotated[int, typer.Option("--by", metavar="UNITS", help="Units to add; negative to take away.")],
    reason: Reason,
    expected_version: Annotated[
        int | None, typer.Option("--if-version", metavar="VERSION", help="Only if this is still the item's version.")
    ] = None,
    request_id: RequestId = "",
) -> Message:
    """Add units to an item's stock, or take some away. Units that are held stay."""
    return session.client.adjust_stock(
        name=item_of(sale, item),
        delta=delta,
        reason=parse_choice(Movement.AdjustReason, reason),
        expected_version=expected_version,
        request_id=request_id,
    )


command(app, "adjust", "stock adjust drop-1 sneaker-42 --by -2 --reason damaged")(_adjust)


def _transfer(
    session: Session,
    *,
    sale: Sale,
    item: ItemId,
    units: Annotated[int, typer.Option("--units", metavar="UNITS", min=1, help="How many to move.")],
    to: Annotated[str, typer.Option("--to", metavar="SALE", help="The sale that gets them.")],
    to_item: Annotated[str, typer.Option("--to-item", metavar="ITEM", help="Default: the item of the same id.")] = "",
    request_id: RequestId = "",
) -> Message:
    """Move available units of an item to an item of another sale."""
    destination = item_of(f"sales/{to.removeprefix('sales/')}", to_item or item)
    return session.client.transfer_stock(
        source=item_of(sale, item), destination=destination, quantity=units, request_id=request_id
    )


command(app, "transfer", "stock transfer main sneaker-42 --units 20 --to drop-1")(_transfer)
