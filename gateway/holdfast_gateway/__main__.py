"""The gateway's command line: `holdfast-gateway [serve|health [--live]] [--config FILE]`."""

import argparse
import sys
from pathlib import Path

import uvloop

from holdfast_chassis import logs
from holdfast_chassis.health import ask_health
from holdfast_chassis.memory import give_back_import_memory
from holdfast_chassis.settings import SettingsError
from holdfast_chassis.version import deployment_version
from holdfast_gateway.app import App
from holdfast_gateway.settings import GatewaySettings

_EXIT_UNUSABLE_SETTINGS = 2


def main() -> None:
    """Run the command and exit with its code: 0 well, 1 failed or not healthy, 2 unusable settings."""
    parser = argparse.ArgumentParser(prog="holdfast-gateway", description="Holdfast's REST gateway.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {deployment_version()}")
    parser.add_argument("command", nargs="?", choices=("serve", "health"), default="serve")
    parser.add_argument("--live", action="store_true", help="health: ask only whether it is alive, not whether ready")
    parser.add_argument("--config", type=Path, help="a JSON file with settings; the environment takes precedence")
    arguments = parser.parse_args()
    try:
        settings = GatewaySettings.load(arguments.config)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_EXIT_UNUSABLE_SETTINGS)
    if arguments.command == "health":
        sys.exit(ask_health(settings.metrics_host, settings.gateway_metrics_port, live=arguments.live))
    sys.exit(serve(settings))


def serve(settings: GatewaySettings) -> int:
    """Serve until told to stop; return the exit code."""
    version = deployment_version()
    logs.configure("gateway", version, settings.log_level, settings.log_format)

    give_back_import_memory()

    async def run() -> int:
        return await App(settings, version).lifecycle.run()

    return uvloop.run(run())


if __name__ == "__main__":
    main()
