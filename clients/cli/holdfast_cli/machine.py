"""`holdfast up` and `holdfast token`: a Holdfast on this machine, if the extra `devstack` is installed."""

# ruff: noqa: PLC0415 - what they need is not installed with the command line

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from holdfast_cli.problems import Exit

Settings = Annotated[
    Path | None, typer.Option("--config", help="A JSON file with settings; the environment goes first.")
]


def up(
    auth: Annotated[
        bool, typer.Option("--auth", help="Ask callers who they are; with a demo issuer and keys.")
    ] = False,
    edge: Annotated[bool, typer.Option("--edge", help="Put Envoy before both services.")] = False,
    monitoring: Annotated[bool, typer.Option("--monitoring", help="Run Prometheus with the alert rules.")] = False,
    config: Settings = None,
) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, Valkey, inventory and gateway, with a demo sale."""

    def run() -> int:
        from holdfast_devstack import commands

        return commands.up(config, auth=auth, edge=edge, monitoring=monitoring)

    _run(run)


def token(
    subject: Annotated[str, typer.Option(help="Whose it is: a buyer's customer, for example.")] = "c-1",
    scopes: Annotated[list[str] | None, typer.Option("--scope", help="What it allows. Repeatable.")] = None,
    minutes: Annotated[float, typer.Option(help="How long it is valid.")] = 60.0,
    config: Settings = None,
) -> None:
    """Make a token of the demo issuer, for what `holdfast up --auth` runs."""

    def run() -> int:
        from holdfast_devstack import commands

        return commands.token(config, subject, scopes, minutes)

    _run(run)


def _run(work: Callable[[], int]) -> None:
    try:
        code = work()
    except ModuleNotFoundError as error:
        typer.echo(f"{error.name} is not installed: install the extra `devstack`", err=True)
        raise typer.Exit(Exit.USAGE) from error
    raise typer.Exit(code)
