"""The edge's command line: `python -m holdfast_edge [serve|health|validate|print] [--config FILE]`."""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast_chassis import logs
from holdfast_chassis.health import ask_health
from holdfast_chassis.settings import SettingsError
from holdfast_chassis.version import deployment_version
from holdfast_edge.app import App
from holdfast_edge.configuration import render, workload_tls
from holdfast_edge.envoy import command, configuration_file
from holdfast_edge.settings import EdgeSettings

_VALIDATE_SECONDS = 60.0
_EXIT_UNUSABLE_SETTINGS = 2


def main() -> None:
    """Run the command and exit with its code: 0 well, 1 failed or not healthy, 2 unusable settings."""
    parser = argparse.ArgumentParser(prog="holdfast-edge", description="Holdfast's edge: Envoy.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {deployment_version()}")
    commands = {"serve": serve, "health": health, "validate": validate, "print": show}
    parser.add_argument("command", nargs="?", choices=commands, default="serve")
    parser.add_argument("--config", type=Path, help="a JSON file with settings; the environment takes precedence")
    arguments = parser.parse_args()
    try:
        settings = EdgeSettings.load(arguments.config)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_EXIT_UNUSABLE_SETTINGS)
    sys.exit(commands[arguments.command](settings))


def serve(settings: EdgeSettings) -> int:
    """Serve until told to stop; return the exit code."""
    version = deployment_version()
    logs.configure("edge", version, settings.log_level, settings.log_format)

    async def run() -> int:
        return await App(settings, version).lifecycle.run()

    return asyncio.run(run())


def health(settings: EdgeSettings) -> int:
    """Ask the edge on this machine whether it is ready; return 0 if so, else 1."""
    return ask_health(settings.edge_metrics_host, settings.edge_metrics_port, live=False)


def validate(settings: EdgeSettings) -> int:
    """Let Envoy check the configuration for these settings. Return its exit code."""
    with _rendered(settings) as configuration, configuration_file(configuration) as file:
        return subprocess.run(  # noqa: S603 - a command of ours, without a shell
            [*command(file), "--mode", "validate"],
            cwd=settings.edge_tls_dir,
            pass_fds=[file],
            timeout=_VALIDATE_SECONDS,
            check=False,
        ).returncode


def show(settings: EdgeSettings) -> int:
    """Print the configuration for Envoy."""
    with _rendered(settings) as configuration:
        sys.stdout.write(configuration)
    return 0


@contextmanager
def _rendered(settings: EdgeSettings) -> Iterator[str]:
    workload = workload_tls(settings)
    try:
        yield render(settings, deployment_version(), workload)
    finally:
        if workload is not None:
            workload.close()


if __name__ == "__main__":
    main()
