"""The commands `holdfast up` and `holdfast token`, which holdfast_cli offers."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from dotenv import load_dotenv

from holdfast_chassis import logs
from holdfast_chassis.identity.principal import OWN
from holdfast_chassis.settings import SettingsError
from holdfast_chassis.version import deployment_version
from holdfast_devstack.child_process import StartError
from holdfast_devstack.console import Console
from holdfast_devstack.data_directory import exclusively
from holdfast_devstack.demo_issuer import DemoIssuer
from holdfast_devstack.settings import DevstackSettings
from holdfast_devstack.up import Stack

# As .env.example says. Variables of the environment take precedence.
_ENVIRONMENT_FILE = Path(".env")
_EXIT_UNUSABLE_SETTINGS = 2
_EXIT_INTERRUPTED = 130


def up(config: Path | None, *, auth: bool, edge: bool, monitoring: bool) -> int:
    """Run everything until Ctrl-C or SIGTERM. Return the exit code."""

    def run(settings: DevstackSettings, console: Console) -> int:
        with exclusively(settings.data_dir.resolve()) as directory:
            console.say(f"Holdfast on one machine; data and logs are kept in {directory.path}\n")
            issuer = None
            if auth:
                issuer = DemoIssuer(directory.path)
                issuer.make()
            stack = Stack(settings, directory, console, with_edge=edge, with_monitoring=monitoring, issuer=issuer)
            return asyncio.run(stack.run())

    return _with_settings(config, run)


def token(config: Path | None, subject: str, scopes: list[str] | None, minutes: float) -> int:
    """Print a token of the demo issuer. Return the exit code."""

    def run(settings: DevstackSettings, _: Console) -> int:
        issuer = DemoIssuer(settings.data_dir.resolve())
        if not issuer.exists:
            sys.stderr.write("there is no demo issuer yet: run `make up AUTH=1` once\n")
            return 1
        sys.stdout.write(issuer.token(subject, scopes or [OWN], minutes) + "\n")
        return 0

    return _with_settings(config, run)


def _with_settings(config: Path | None, run: Callable[[DevstackSettings, Console], int]) -> int:
    console = Console()
    # The console reports successes.
    logs.configure("devstack", deployment_version(), "warning", "console")
    load_dotenv(_ENVIRONMENT_FILE, encoding="utf-8-sig")
    try:
        return run(DevstackSettings.load(config), console)
    except SettingsError as error:
        console.say(f"{error}")
        return _EXIT_UNUSABLE_SETTINGS
    except StartError as error:
        console.say(f"{error}")
        return 1
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
