"""The gateway's command line: `holdfast-gateway [serve|health [--live]] [--config FILE]`."""

import argparse
import http.client
import ssl
import sys
from pathlib import Path

import uvloop

from holdfast_chassis import logs
from holdfast_chassis.identity.workload_files import AUTHORITIES, CERTIFICATE, KEY
from holdfast_chassis.listening import own_address
from holdfast_chassis.memory import give_back_import_memory
from holdfast_chassis.settings import SettingsError
from holdfast_chassis.version import deployment_version
from holdfast_gateway.app import App
from holdfast_gateway.settings import GatewaySettings

_HEALTH_SECONDS = 3.0
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
    sys.exit(serve(settings) if arguments.command == "serve" else health(settings, live=arguments.live))


def serve(settings: GatewaySettings) -> int:
    """Serve until told to stop; return the exit code."""
    version = deployment_version()
    logs.configure("gateway", version, settings.log_level, settings.log_format)

    give_back_import_memory()

    async def run() -> int:
        return await App(settings, version).lifecycle.run()

    return uvloop.run(run())


def health(settings: GatewaySettings, *, live: bool = False) -> int:
    """Ask the gateway on this machine whether it is ready, or merely alive; return 0 if so, else 1."""
    try:
        connection = _connection(settings)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the certificate cannot be used: {error}\n")
        return 1
    try:
        connection.request("GET", "/health/live" if live else "/health/ready")
        response = connection.getresponse()
        sys.stdout.write(response.read().decode() + "\n")
    except OSError as error:
        sys.stderr.write(f"the gateway does not answer: {error}\n")
        return 1
    finally:
        connection.close()
    return 0 if response.status == http.client.OK else 1


def _connection(settings: GatewaySettings) -> http.client.HTTPConnection:
    """Return a connection to the gateway on this machine. Its own certificate proves both ends."""
    host, directory = own_address(settings.http_host), settings.http_tls_dir
    if directory is None:
        return http.client.HTTPConnection(host, settings.http_port, timeout=_HEALTH_SECONDS)
    context = ssl.create_default_context(cafile=directory / AUTHORITIES)
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    # The name is ours, whichever it is: only the authority matters.
    context.check_hostname = False
    return http.client.HTTPSConnection(host, settings.http_port, timeout=_HEALTH_SECONDS, context=context)


if __name__ == "__main__":
    main()
