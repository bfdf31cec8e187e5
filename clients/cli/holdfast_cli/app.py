"""The commands and their groups."""

from typing import Annotated, Final

import typer

from holdfast_chassis.version import deployment_version
from holdfast_cli import customers, items, machine, profile_commands, reservations, sales, schedules, stock, webhooks

_HELP: Final = """Sell limited stock to a stampede.

Each command calls Holdfast over gRPC: at localhost:50051, or where the current profile or --address says. Ids are
enough: `drop-1` is `sales/drop-1`. Commands that cannot be undone ask first; --dry-run shows what would happen.

Exit codes: 0 done, 1 failed or not agreed to, 2 wrong usage or an invalid request, 3 refused, 4 not found,
5 not allowed, 6 no answer or no capacity (try again).
"""

app: Final = typer.Typer(
    name="holdfast", help=_HELP, no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False
)
for name, group in {
    "sale": sales.app,
    "item": items.app,
    "stock": stock.app,
    "reservation": reservations.app,
    "customer": customers.app,
    "schedule": schedules.app,
    "webhook": webhooks.app,
    "profile": profile_commands.app,
}.items():
    app.add_typer(group, name=name)
app.command("up", rich_help_panel="On this machine")(machine.up)
app.command("token", rich_help_panel="On this machine")(machine.token)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {deployment_version()}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version
