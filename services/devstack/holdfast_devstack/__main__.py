"""`holdfast up` and `holdfast token`: the commands."""

import argparse
import asyncio
import sys
from pathlib import Path

from dotenv import load_dotenv

from holdfast_chassis import logs
from holdfast_chassis.identity.principal import OWN
from holdfast_chassis.settings import SettingsError
from holdfast_chassis.version import deployment_version
from holdfast_devstack.child_process import StartError
from holdfast_devstack.console import Console
from holdfast_devstack.data_directory import exclusively
from holdfast_devstack.demo_issuer import BUYER, DemoIssuer
from holdfast_devstack.settings import DevstackSettings
from holdfast_devstack.up import Stack

# As .env.example says. Variables of the environment take precedence.
_ENVIRONMENT_FILE = Path(".env")
_EXIT_UNUSABLE_SETTINGS = 2
_EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command. Return its exit code."""
    arguments = _parser().parse_args()
    console = Console()
    # The console reports successes.
    logs.configure("devstack", deployment_version(), "warning", "console")
    load_dotenv(_ENVIRONMENT_FILE, encoding="utf-8-sig")
    try:
        settings = DevstackSettings.load(arguments.config)
        if arguments.command == "token":
            return _print_token(settings, arguments)
        with exclusively(settings.data_dir.resolve()) as directory:
            console.say(f"Holdfast on one machine; data and logs are kept in {directory.path}\n")
            issuer = None
            if arguments.auth:
                issuer = DemoIssuer(directory.path)
                issuer.make()
            stack = Stack(settings, directory, console, with_edge=arguments.edge, issuer=issuer)
            return asyncio.run(stack.run())
    except SettingsError as error:
        console.say(f"{error}")
        return _EXIT_UNUSABLE_SETTINGS
    except StartError as error:
        console.say(f"{error}")
        return 1
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast", description="Holdfast on one machine.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {deployment_version()}")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    up = commands.add_parser(
        "up",
        help="run everything until Ctrl-C",
        description="Runs PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name others), the inventory and the "
        "gateway, with a demo sale, until Ctrl-C or SIGTERM.",
    )
    up.add_argument("--auth", action="store_true", help="ask callers who they are; with a demo issuer and demo keys")
    up.add_argument("--edge", action="store_true", help="put Envoy before both services")
    up.add_argument("--config", type=Path, help="a JSON file with settings; the environment takes precedence")
    token = commands.add_parser(
        "token", help="make a token of the demo issuer", description="Makes a token for what `holdfast up --auth` runs."
    )
    token.add_argument("--subject", default=BUYER, help="whose it is: a buyer's customer, for example")
    token.add_argument("--scope", action="append", dest="scopes", help=f"what it allows; may be repeated; {OWN}")
    token.add_argument("--minutes", type=float, default=60.0, help="how long it is valid; 60")
    token.add_argument("--config", type=Path, help="a JSON file with settings; the environment goes before it")
    return parser


def _print_token(settings: DevstackSettings, arguments: argparse.Namespace) -> int:
    issuer = DemoIssuer(settings.data_dir.resolve())
    if not issuer.exists:
        sys.stderr.write("there is no demo issuer yet: run `make up AUTH=1` once\n")
        return 1
    sys.stdout.write(issuer.token(arguments.subject, arguments.scopes or [OWN], arguments.minutes) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
