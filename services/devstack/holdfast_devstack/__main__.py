"""`holdfast up`: the command."""

import argparse
import asyncio
import sys
from pathlib import Path

from dotenv import load_dotenv

from holdfast_chassis import logs
from holdfast_chassis.settings import SettingsError
from holdfast_chassis.version import deployment_version
from holdfast_devstack.child_process import StartError
from holdfast_devstack.console import Console
from holdfast_devstack.data_directory import exclusively
from holdfast_devstack.settings import DevstackSettings
from holdfast_devstack.up import Stack

# As .env.example says. Variables of the environment take precedence.
_ENVIRONMENT_FILE = Path(".env")
_EXIT_UNUSABLE_SETTINGS = 2
_EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command and returns its exit code."""
    arguments = _parser().parse_args()
    console = Console()
    # The console reports successes.
    logs.configure("devstack", deployment_version(), "warning", "console")
    load_dotenv(_ENVIRONMENT_FILE, encoding="utf-8-sig")
    try:
        settings = DevstackSettings.load(arguments.config)
        with exclusively(settings.data_dir.resolve()) as directory:
            console.say(f"Holdfast on one machine; data and logs are kept in {directory.path}\n")
            return asyncio.run(Stack(settings, directory, console, with_edge=arguments.edge).run())
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
    commands = parser.add_subparsers(required=True, metavar="command")
    up = commands.add_parser(
        "up",
        help="run everything until Ctrl-C",
        description="Runs PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name others), the inventory and the "
        "gateway, with a demo sale, until Ctrl-C or SIGTERM.",
    )
    up.add_argument("--edge", action="store_true", help="put Envoy before both services")
    up.add_argument("--config", type=Path, help="a JSON file with settings; the environment takes precedence")
    return parser


if __name__ == "__main__":
    sys.exit(main())
