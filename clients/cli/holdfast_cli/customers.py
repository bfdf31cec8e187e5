"""`holdfast customer`: what support is asked about a customer."""

from typing import Annotated, Final

import typer

from holdfast_cli.arguments import Limit
from holdfast_cli.session import Session, command

app: Final = typer.Typer(no_args_is_help=True, help="Answer what customers ask.")

Customer = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The customer, as in reservations.")]


def _refusals(
    session: Session,
    *,
    customer: Customer,
    sale: Annotated[str, typer.Option("--sale", metavar="SALE", help="In this sale.")],
    limit: Limit = 50,
) -> None:
    """List why a customer got nothing in a sale: the last refusals, while they are kept."""
    found = session.client.list_refusals(parent=f"sales/{sale.removeprefix('sales/')}", customer=customer)
    session.show_all(iter(found.refusals), limit)


command(app, "refusals", "customer refusals c-1 --sale drop-1")(_refusals)
