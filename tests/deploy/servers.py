"""PostgreSQL and Valkey for tests of what is not Python: `python -m tests.deploy.servers FILE`.

Writes the services' environment for them, with free ports, to FILE; says so; and serves until its input ends.
"""

import sys
import tempfile
from pathlib import Path

from holdfast_devstack.ports import free_port
from holdfast_devstack.postgres import PostgresServer
from holdfast_devstack.valkey import ValkeyServer

PORTS = ("GRPC", "METRICS", "HTTP", "GATEWAY_METRICS", "EDGE_HTTP", "EDGE_METRICS", "EDGE_ADMIN")


def main():
    with tempfile.TemporaryDirectory(prefix="holdfast-servers-") as directory:
        postgres, valkey = PostgresServer(Path(directory, "postgres")), ValkeyServer(Path(directory, "valkey"))
        postgres.start()
        try:
            valkey.start()
            try:
                Path(sys.argv[1]).write_text(environment(postgres.create_database("holdfast"), valkey.url))
                print("ready", flush=True)
                sys.stdin.read()
            finally:
                valkey.stop()
        finally:
            postgres.stop()


def environment(database_url, redis_url):
    ports = {name: free_port() for name in PORTS}
    variables = {f"HOLDFAST_{name}_PORT": port for name, port in ports.items()} | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOLDFAST_GRPC_HOST": "127.0.0.1",
        "HOLDFAST_HTTP_HOST": "127.0.0.1",
        "HOLDFAST_INVENTORY_TARGET": f"ipv4:127.0.0.1:{ports['GRPC']}",
        "HOLDFAST_EDGE_INVENTORIES": f"127.0.0.1:{ports['GRPC']}",
        "HOLDFAST_EDGE_GATEWAYS": f"127.0.0.1:{ports['HTTP']}",
    }
    return "".join(f"{name}={value}\n" for name, value in variables.items())


if __name__ == "__main__":
    main()
