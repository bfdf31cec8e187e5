"""The command line: `holdfast-inventory serve, migrate [--to N] [--dry-run], health [--live]`; each has --config.

`key create, list, revoke` needs no settings.
"""

import argparse
import sys
from pathlib import Path

import uvloop

from holdfast_chassis import logs
from holdfast_chassis.health import ask_health
from holdfast_chassis.lifecycle import CannotStartError
from holdfast_chassis.memory import give_back_import_memory
from holdfast_chassis.settings import SettingsError
from holdfast_chassis.version import deployment_version
from holdfast_inventory import keys
from holdfast_inventory.app import App, server_limits
from holdfast_inventory.embedded import CONFIG_VARIABLE
from holdfast_inventory.postgres.migrations import migrate as run_migrations
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.transports import grpc_aio
from holdfast_inventory.transports.envoy_process import UnusableError, become_envoy

log = logs.get_logger("holdfast.server")

_EXIT_UNUSABLE_SETTINGS = 2


def main() -> None:
    """Run the command and exit with its code: 0 well, 1 failed or not healthy, 2 unusable settings."""
    arguments = _parser().parse_args()
    if arguments.command == "key":
        sys.exit(keys.run(arguments))
    try:
        settings = InventorySettings.load(arguments.config)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_EXIT_UNUSABLE_SETTINGS)
    if arguments.command == "migrate":
        sys.exit(migrate(settings, arguments.to, dry_run=arguments.dry_run))
    if arguments.command == "health":
        sys.exit(ask_health(settings.metrics_host, settings.metrics_port, live=arguments.live))
    sys.exit(serve(settings) if settings.transport == "grpc_aio" else serve_by_envoy(settings, arguments.config))


def serve_by_envoy(settings: InventorySettings, config: Path | None) -> int:
    """Replace this process by Envoy, which serves until told to stop. If it cannot be used, serve by grpc.aio where the
    setting allows it. Return an exit code.
    """
    variables = {CONFIG_VARIABLE: str(config)} if config else {}
    try:
        become_envoy(server_limits(settings), "holdfast_inventory.embedded:application", variables)
    except UnusableError as error:
        if settings.transport == "envoy":
            sys.stderr.write(f"HOLDFAST_TRANSPORT=envoy cannot be used: {error}; HOLDFAST_TRANSPORT=grpc_aio can\n")
            return _EXIT_UNUSABLE_SETTINGS
        return serve(settings, f"without Envoy: {error}")


def serve(settings: InventorySettings, notice: str = "") -> int:
    """Serve by grpc.aio until told to stop; return the exit code. A notice is logged first."""
    version = deployment_version()
    logs.configure("inventory", version, settings.log_level, settings.log_format)
    if notice:
        log.warning(notice)

    give_back_import_memory()

    async def run() -> int:
        return await App(settings, version, grpc_aio.Server).lifecycle.run()

    return uvloop.run(run())


def migrate(settings: InventorySettings, to: int | None, *, dry_run: bool) -> int:
    """Bring the schema to a version, by default the newest; return the exit code."""
    logs.configure("inventory", deployment_version(), settings.log_level, settings.log_format)
    url = settings.database_url.get_secret_value()
    try:
        steps = uvloop.run(run_migrations(url, to, dry_run=dry_run, patience_seconds=settings.database_wait_seconds))
    except CannotStartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    did = "would run" if dry_run else "ran"
    sys.stdout.writelines(f"{did} {step}\n" for step in steps)
    if not steps:
        sys.stdout.write("nothing to do\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="a JSON file with settings; the environment takes precedence")
    parser = argparse.ArgumentParser(prog="holdfast-inventory", description="Holdfast's inventory service.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {deployment_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", parents=[common], help="serve until told to stop")
    asking = commands.add_parser("health", parents=[common], help="ask whether the service on this machine is ready")
    asking.add_argument(
        "--live", action="store_true", help="ask only whether it is alive, for orchestrators that restart it if not"
    )
    migrating = commands.add_parser("migrate", parents=[common], help="bring the schema up to date")
    migrating.add_argument("--to", type=int, metavar="N", help="the version to go to, up or down; the newest")
    migrating.add_argument("--dry-run", action="store_true", help="only show what would run")
    keys.add_parser(commands)
    return parser


if __name__ == "__main__":
    main()
