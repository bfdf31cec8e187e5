"""`holdfast-inventory key`: creates, lists and revokes API keys in the file that the services read."""

import argparse
import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.identity.api_keys import GRANTABLE, ApiKey, new_key, parse_keys, render_keys
from holdfast_chassis.settings import environment_name

_VARIABLE = environment_name("api_keys_path")
_PRIVATE = 0o600


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `key` to the command line."""
    parser = commands.add_parser("key", help="create, list and revoke API keys")
    actions = parser.add_subparsers(dest="action", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--file", type=Path, help=f"the file of keys; {_VARIABLE}")
    create = actions.add_parser("create", parents=[common], help="create a key, and print it once")
    create.add_argument("--name", required=True, help="the name of its owner, who appears as the actor keys/NAME")
    create.add_argument("--scope", action="append", required=True, choices=sorted(GRANTABLE), dest="scopes")
    create.add_argument("--days", type=float, help="how long it is valid; the default is until it is revoked")
    actions.add_parser("list", parents=[common], help="list the keys, without their secrets")
    revoke = actions.add_parser("revoke", parents=[common], help="revoke a key, which takes effect within two seconds")
    revoke.add_argument("id", help="its id, from `list`")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    path = arguments.file or Path(os.environ.get(_VARIABLE, ""))
    if not path.name:
        sys.stderr.write(f"the file is missing: give --file, or set {_VARIABLE}\n")
        return 2
    try:
        keys = list(parse_keys(path.read_bytes()).values()) if path.exists() else []
        {"create": _create, "list": _list, "revoke": _revoke}[arguments.action](arguments, path, keys)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 1
    return 0


def _create(arguments: argparse.Namespace, path: Path, keys: list[ApiKey]) -> None:
    days = arguments.days
    expires_at = None if days is None else SYSTEM_CLOCK.now() + timedelta(days=days)
    secret, key = new_key(arguments.name, arguments.scopes, expires_at)
    _write(path, [*keys, key])
    sys.stderr.write(f"key {key.id} of {key.name} is in {path}; this is all that will ever be seen of it:\n")
    sys.stdout.write(f"{secret}\n")


def _list(_: argparse.Namespace, __: Path, keys: list[ApiKey]) -> None:
    for key in keys:
        end = "" if key.expires_at is None else f"  until {key.expires_at.isoformat()}"
        sys.stdout.write(f"{key.id}  {key.name}  {' '.join(key.scopes)}{end}\n")


def _revoke(arguments: argparse.Namespace, path: Path, keys: list[ApiKey]) -> None:
    left = [key for key in keys if key.id != arguments.id]
    if len(left) == len(keys):
        raise ValueError(f"there is no key {arguments.id}")
    _write(path, left)


def _write(path: Path, keys: list[ApiKey]) -> None:
    """Replace the file atomically, because a service may be reading it."""
    mode = path.stat().st_mode if path.exists() else _PRIVATE
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        draft.write(render_keys(keys))
    Path(draft.name).chmod(mode)
    Path(draft.name).replace(path)
