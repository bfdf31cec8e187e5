"""PostgreSQL and Valkey for tests of what is not Python: `python -m tests.deploy.servers FILE`.

Writes the services' environment for them, with free ports, to FILE; says so; and serves until its input ends.
"""

import sys
import tempfile
from pathlib import Path

from holdfast_devstack.postgres import PostgresServer
from holdfast_devstack.valkey import ValkeyServer
from tests.deploy.stack import free_ports, variables


def main():
    with tempfile.TemporaryDirectory(prefix="holdfast-servers-") as directory:
        postgres, valkey = PostgresServer(Path(directory, "postgres")), ValkeyServer(Path(directory, "valkey"))
        postgres.start()
        try:
            valkey.start()
            try:
                wanted = variables(free_ports(), postgres.create_database("holdfast"), valkey.url)
                Path(sys.argv[1]).write_text("".join(f"{name}={value}\n" for name, value in wanted.items()))
                print("ready", flush=True)
                sys.stdin.read()
            finally:
                valkey.stop()
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
