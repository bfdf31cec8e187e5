"""All three tiers with mutual TLS, and the certificates of other workloads."""

from contextlib import ExitStack
from types import SimpleNamespace

import grpc
import pytest

from holdfast_chassis.identity.certificates import read_certificate
from holdfast_devstack.ports import free_port
from lab.kit.service import Service
from tests.support.certificates import Authority
from tests.support.services import NO_DRAIN, OTHER_TRANSPORT, TRANSPORT, Gateway, Inventory

TRANSPORTS = [TRANSPORT, OTHER_TRANSPORT]


class Tiers:
    """An edge, a gateway and an inventory of each transport, each with a certificate."""

    def __init__(self, started, database_url, directory):
        """The services end with the exit stack `started`."""
        self.authority, self.foreign = Authority(directory), Authority(directory, "foreign")
        names = ("edge", "gateway", "inventory", "stranger")
        self.directories = {name: self.authority.equip(directory / name, name) for name in names}
        self.directories["expired"] = self.authority.expire(self.authority.equip(directory / "expired", "gateway"))
        self.directories["of a foreign authority"] = self.foreign.equip(directory / "foreign", "gateway")
        (directory / "foreign" / "ca.crt").write_bytes(self.authority.certificate.read_bytes())
        served = {"grpc_tls_dir": self.directories["inventory"], "migrate_on_start": True, **NO_DRAIN}
        self.inventories = {
            transport: started.enter_context(Inventory(database_url, transport=transport, **served))
            for transport in TRANSPORTS
        }
        addresses = [each.wait_until_serving().address for each in self.inventories.values()]
        own = self.directories["gateway"]
        proven = {"http_tls_dir": own, "inventory_tls_dir": own, **NO_DRAIN}
        self.gateway = started.enter_context(Gateway(addresses, **proven)).wait_until_serving()
        self.ports = {name: free_port() for name in ("http", "shoppers", "metrics", "admin")}
        settings = {
            "host": "127.0.0.1",
            "metrics_host": "127.0.0.1",
            "threads": 1,
            **{f"{name}_port": port for name, port in self.ports.items()},
            "gateways": self.gateway.url.removeprefix("https://"),
            "inventories": ",".join(addresses),
            "workload_tls_dir": self.directories["edge"],
        }
        wanted = {f"HOLDFAST_EDGE_{name.upper()}": value for name, value in settings.items()}
        self.edge = started.enter_context(Service("holdfast_edge", wanted))
        self.edge.wait_for("serving")
        self.target = f"127.0.0.1:{self.ports['http']}"


@pytest.fixture(scope="module")
def tiers(postgres18, tmp_path_factory):
    database = "workloads"
    with ExitStack() as started:
        yield Tiers(started, postgres18.create_database(database), tmp_path_factory.mktemp("workloads"))
    postgres18.drop_database(database)


@pytest.fixture
async def calling(tiers, opened):
    """Opens a channel to an inventory as the workload whose certificate has this name; None: with none."""

    def channel(transport, name):
        own = None if name is None else read_certificate(tiers.directories[name])
        trusted = tiers.authority.certificate.read_bytes()
        credentials = grpc.ssl_channel_credentials(trusted, own and own.key, own and own.chain)
        options = [("grpc.ssl_target_name_override", "inventory"), ("grpc.enable_http_proxy", 0)]
        channel = grpc.aio.secure_channel(tiers.inventories[transport].address, credentials, options)
        opened(SimpleNamespace(close=channel.close))
        return channel

    return channel
