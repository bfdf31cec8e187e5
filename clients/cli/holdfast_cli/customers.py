"""`holdfast customer`: what support is asked about a customer."""

import json
import os
import sys
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer
from google.protobuf.message import Message
from rich.progress import track

from holdfast_cli.arguments import Limit
from holdfast_cli.output import as_json
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


def _export(
    session: Session,
    *,
    customer: Customer,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="A new file, for you alone. Default: standard output.")
    ] = None,
) -> None:
    """Write what is stored about a customer: a line of JSON for each refusal and reservation."""
    records = session.client.export_customer(name=_name_of(customer), page_size=1000)
    with ExitStack() as files:
        lines = sys.stdout if to is None else files.enter_context(_private(to))
        quiet = to is None or not session.errors.is_terminal
        for record in track(records, "exporting", total=None, console=session.errors, disable=quiet):
            lines.write(json.dumps(as_json(record)) + "\n")


command(app, "export", "customer export c-1 --to c-1.jsonl")(_export)

_COUNTED: Final = 1000


def _ended_by_erase(session: Session, *, customer: Customer) -> str:
    found = sum(1 for _ in islice(session.client.export_customer(name=_name_of(customer), page_size=1000), _COUNTED))
    more = " or more" if found == _COUNTED else ""
    return (
        f"The name {customer} is replaced by a pseudonym in {found}{more} records, for good; its refusals"
        " are deleted. Stock and sums stay. Export first what you have to keep."
    )


def _erase(session: Session, *, customer: Customer) -> Message:
    """Erase a customer: a pseudonym takes the name's place everywhere, and stock and sums stay."""
    erased = session.client.erase_customer(name=_name_of(customer))
    if not erased.done:
        session.note("The rest is erased in the background. Run the command again to see whether it is done.")
    return erased


command(app, "erase", "customer erase c-1 --dry-run", asks=_ended_by_erase)(_erase)


def _name_of(customer: str) -> str:
    return f"customers/{customer}"


def _private(path: Path) -> TextIO:
    """Open a new file that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600), "w", encoding="utf-8")
