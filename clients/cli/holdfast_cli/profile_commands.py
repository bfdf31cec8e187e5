"""`holdfast profile`: addresses with their keys."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from holdfast_cli import profiles
from holdfast_cli.profiles import Profile, Profiles

app: Final = typer.Typer(no_args_is_help=True, help="Keep addresses with their keys, in a file that only you can read.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile's name.")]


@app.command("set", help="Create or replace a profile.\n\nExample: `holdfast profile set shop --address shop:8443`")
def set_profile(
    name: Name,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where gRPC is served.")],
    key_file: Annotated[
        str, typer.Option(metavar="FILE", help="The file with the key or token; -: standard input. The key is copied.")
    ] = "",
    plaintext: Annotated[bool, typer.Option("--plaintext", help="Do not use TLS.")] = False,
    authorities: Annotated[str, typer.Option(metavar="FILE", help="The PEM file of the authorities to trust.")] = "",
) -> None:
    """Create or replace a profile; the first one becomes the current one."""
    known = profiles.load()
    key = ""
    if key_file:
        key = (sys.stdin.read() if key_file == "-" else Path(key_file).read_text(encoding="utf-8")).strip()
    profile = Profile(address, key, plaintext, str(Path(authorities).resolve()) if authorities else "")
    profiles.save(Profiles({**known.named, name: profile}, known.current or name))


@app.command("use", help="Make a profile the current one.\n\nExample: `holdfast profile use shop`")
def use(name: Name) -> None:
    """Make a profile the current one."""
    known = profiles.load()
    known.chosen(name)
    profiles.save(replace(known, current=name))


@app.command("list", help="List the profiles, without their keys.\n\nExample: `holdfast profile list`")
def list_profiles() -> None:
    """List the profiles."""
    known = profiles.load()
    table = Table("", "name", "address", "key", box=None, pad_edge=False, header_style="bold")
    for name, profile in known.named.items():
        table.add_row("*" if name == known.current else "", name, profile.address, "yes" if profile.key else "none")
    Console().print(table)


@app.command("remove", help="Remove a profile with its key.\n\nExample: `holdfast profile remove shop`")
def remove(name: Name) -> None:
    """Remove a profile with its key."""
    known = profiles.load()
    known.chosen(name)
    named = {each: profile for each, profile in known.named.items() if each != name}
    profiles.save(Profiles(named, "" if known.current == name else known.current))
