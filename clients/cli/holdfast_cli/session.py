"""One run of a command: who is called, with which key, and how the result is shown. `command` registers a command."""

import inspect
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, ParamSpec

import grpc
import typer
from google.protobuf.message import Message
from rich.console import Console

from holdfast_cli import output
from holdfast_cli.output import Format
from holdfast_cli.problems import Exit, advice, as_document, exit_of
from holdfast_cli.profiles import Profile, ProfilesError, load
from holdfast_client import Client, HoldfastError, Policy

P = ParamSpec("P")

# Lines may be longer than the terminal: names that are broken into pieces could not be copied.
_COLUMNS: Final = 240
# A name such as localhost.example.com is not on this machine.
_LOOPBACK: Final = re.compile(r"(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?|unix:.*")


@dataclass(frozen=True)
class Shared:
    """The options of every command."""

    output: Annotated[
        Format,
        typer.Option("--output", "-o", help="A table for people, or JSON for programs.", rich_help_panel="Shared"),
    ] = Format.TABLE
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            "-p",
            metavar="NAME",
            envvar="HOLDFAST_PROFILE",
            help="The profile with address and key.",
            rich_help_panel="Shared",
        ),
    ] = ""
    address: Annotated[
        str,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            envvar="HOLDFAST_ADDRESS",
            help="Where gRPC is served. A profile's key is not sent to another address than its own.",
            rich_help_panel="Shared",
        ),
    ] = ""
    plaintext: Annotated[
        bool,
        typer.Option("--plaintext", help="Do not use TLS. On this machine it is never used.", rich_help_panel="Shared"),
    ] = False
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.1,
            max=3600,
            help="For each call, with its retries.",
            rich_help_panel="Shared",
        ),
    ] = 15.0


@dataclass(frozen=True)
class Asking:
    """The options of commands that cannot be undone."""

    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False


class Session:
    """What a command works with."""

    def __init__(self, shared: Shared) -> None:
        self.output = shared.output
        self.console = Console(width=_COLUMNS)
        self.errors = Console(stderr=True, highlight=False)
        self.profile = _profile(shared)
        self.client = Client(
            self.profile.address,
            credential=self.profile.key or None,
            tls=_tls(self.profile),
            policy=Policy(timeout_seconds=shared.timeout),
        )

    def show(self, result: Message | None) -> None:
        """Print what a command returns."""
        if result is not None:
            output.show_one(self.console, self.output, result)

    def show_all(self, messages: Iterator[Message], limit: int) -> None:
        """Print a list, at most `limit` entries; 0: all."""
        output.show_all(self.console, self.output, messages, limit)

    def note(self, text: str) -> None:
        """Tell people, on stderr; programs do not need it."""
        if self.output is Format.TABLE:
            self.errors.print(text, style="dim", markup=False)

    def agreed(self, question: str, asking: Asking) -> bool:
        """Return whether to do what cannot be undone. Raises Exit where nobody can be asked."""
        self.errors.print(question, markup=False)
        if asking.dry_run:
            self.errors.print("Nothing was done: --dry-run", style="dim")
            return False
        if asking.yes or typer.confirm("Do it?", err=True):
            return True
        self.errors.print("Nothing was done.", style="dim")
        raise typer.Exit(Exit.FAULT)

    def fail(self, error: HoldfastError) -> NoReturn:
        """Tell an error and what to do, and end."""
        if self.output is Format.JSON:
            self.errors.print(json.dumps({"error": as_document(error)}), soft_wrap=True, markup=False)
        else:
            reason = getattr(error, "reason", "")
            self.errors.print(f"{f'{reason}: ' if reason else ''}{error}", style="red", markup=False)
            if hint := advice(error, self.profile.address):
                self.errors.print(hint, markup=False)
        raise typer.Exit(exit_of(error)) from error


def command(
    app: typer.Typer, name: str, example: str, *, asks: Callable[..., str] | None = None
) -> Callable[[Callable[..., Message | None]], None]:
    """Register a function of a session as a command; what it returns is printed.

    `asks` is for what cannot be undone: a function of the same arguments that returns what will happen.
    """

    def register(work: Callable[..., Message | None]) -> None:
        own = list(inspect.signature(work).parameters.values())[1:]
        kinds = (Shared, Asking) if asks else (Shared,)

        def run(**given: Any) -> None:  # noqa: ANN401 - as the command's own
            shared, *asking = [_taken(kind, given) for kind in kinds]
            session = _opened(shared)
            try:
                if asks is None or session.agreed(asks(session, **given), *asking):
                    session.show(work(session, **given))
            except HoldfastError as error:
                session.fail(error)
            finally:
                session.client.close()

        parameters = [*own, *(each for kind in kinds for each in inspect.signature(kind).parameters.values())]
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name, help=f"{work.__doc__}\n\nExample: `holdfast {example}`")(run)

    return register


def _taken(kind: Any, given: dict[str, Any]) -> Any:  # noqa: ANN401 - Shared or Asking
    return kind(**{name: given.pop(name) for name in inspect.signature(kind).parameters})


def _opened(shared: Shared) -> Session:
    try:
        return Session(shared)
    except (ProfilesError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(Exit.USAGE) from error


def _profile(shared: Shared) -> Profile:
    profile = load().chosen(shared.profile)
    if shared.address and shared.address != profile.address:
        # Its key is not for others.
        profile = Profile(shared.address)
    if path := os.environ.get("HOLDFAST_KEY_FILE"):
        profile = replace(profile, key=Path(path).read_text(encoding="utf-8").strip())
    return replace(
        profile, plaintext=profile.plaintext or shared.plaintext or bool(_LOOPBACK.fullmatch(profile.address))
    )


def _tls(profile: Profile) -> grpc.ChannelCredentials | None:
    if profile.plaintext:
        return None
    return grpc.ssl_channel_credentials(Path(profile.authorities).read_bytes() if profile.authorities else None)
