"""A complete deployment as processes: inventory, gateway and edge, on real servers."""

from holdfast_devstack.ports import free_port
from lab.kit.service import Service, environment

VERSION = "1.2.3-test"
QUICK = {f"HOLDFAST_{prefix}DRAIN_{each}_SECONDS": "0" for prefix in ("", "EDGE_") for each in ("QUIET", "MIN")}


def free_ports():
    """Return a port for each listener, by the middle part of its variable's name."""
    edges = ("EDGE_HTTP", "EDGE_SHOPPERS", "EDGE_METRICS", "EDGE_ADMIN")
    listeners = ("GRPC", "METRICS", "HTTP", "GATEWAY_METRICS", *edges)
    return {name: free_port() for name in listeners}


def variables(ports, database_url, redis_url):
    """Return the variables by which one of each finds the others and its servers."""
    return {f"HOLDFAST_{name}_PORT": port for name, port in ports.items()} | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOLDFAST_GRPC_HOST": "127.0.0.1",
        "HOLDFAST_HTTP_HOST": "127.0.0.1",
        "HOLDFAST_INVENTORY_TARGET": f"ipv4:127.0.0.1:{ports['GRPC']}",
        "HOLDFAST_EDGE_INVENTORIES": f"127.0.0.1:{ports['GRPC']}",
        "HOLDFAST_EDGE_GATEWAYS": f"127.0.0.1:{ports['HTTP']}",
    }


class Stack:
    """One of each. `environment` is the services', and that of programs that reach them."""

    def __init__(self, database_url, redis_url, **wanted):
        ports = free_ports()
        self.database_url = database_url
        self.edge = f"127.0.0.1:{ports['EDGE_HTTP']}"
        self.metrics = {
            "inventory": f"http://127.0.0.1:{ports['METRICS']}/metrics",
            "gateway": f"http://127.0.0.1:{ports['GATEWAY_METRICS']}/metrics",
            "edge": f"http://127.0.0.1:{ports['EDGE_METRICS']}/metrics",
        }
        self._wanted = variables(ports, database_url, redis_url) | QUICK | {"HOLDFAST_VERSION": VERSION} | wanted
        self.environment = environment(self._wanted)
        self._processes = []

    def start(self):
        for module in ("holdfast_inventory", "holdfast_gateway", "holdfast_edge"):
            process = Service(module, self._wanted)
            self._processes.append(process)
            process.wait_for("serving")

    def stop(self):
        while self._processes:
            self._processes.pop().stop()
