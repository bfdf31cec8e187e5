"""All three tiers with mutual TLS, and the certificates of other workloads."""

from contextlib import ExitStack
from types import SimpleNamespace
from urllib.parse import quote

import grpc
import pytest

from holdfast_chassis import direct
from holdfast_chassis.identity.certificates import read_certificate
from holdfast_devstack.ports import free_port
from lab.kit.service import Service
from tests.support.certificates import Authority
from tests.support.eventually import eventually
from tests.support.services import NO_DRAIN, OTHER_TRANSPORT, TRANSPORT, Gateway, Inventory

TRANSPORTS = [TRANSPORT, OTHER_TRANSPORT]


class Edge(Service):
    """An edge in front of these addresses."""

    def __init__(self, gateways, inventories, **settings):
        ports = {name: free_port() for name in ("http", "shoppers", "metrics", "admin")}
        wanted = {
            "host": "127.0.0.1",
            "metrics_host": "127.0.0.1",
            "threads": 1,
            **{f"{name}_port": port for name, port in ports.items()},
            "gateways": ",".join(gateways),
            "inventories": ",".join(inventories),
            **settings,
        }
        super().__init__("holdfast_edge", {f"HOLDFAST_EDGE_{name.upper()}": value for name, value in wanted.items()})
        self.target = f"127.0.0.1:{ports['http']}"
        self._admin_url = f"http://127.0.0.1:{ports['admin']}"

    def of_clusters(self, stat):
        """The values of this counter or gauge for its clusters of gateways and inventories."""
        pattern = rf"^cluster\.(gateways|inventories)(_looks)?\.{stat}$"
        with direct.urlopen(f"{self._admin_url}/stats?filter={quote(pattern)}", 5) as page:
            return [int(line.partition(": ")[2]) for line in page.read().decode().splitlines()]

    async def sees(self, replicas):
        """Wait until this many replicas of each service are healthy for it."""
        await eventually(lambda: self.of_clusters("membership_healthy") == [replicas] * 4)


class Tiers:
    """An edge, a gateway and an inventory of each transport, each with a certificate."""

    def __init__(self, started, database_url, directory):
        """The services end with the exit stack `started`."""
        self.authority, self.foreign = Authority(directory), Authority(directory, "foreign")
        self.next_authority = Authority(directory, "next")
        names = ("edge", "gateway", "inventory", "stranger")
        self.directories = {name: self.authority.equip(directory / name, name) for name in names}
        self.directories["expired"] = self.authority.expire(self.authority.equip(directory / "expired", "gateway"))
        self.directories["of a foreign authority"] = self.foreign.equip(directory / "foreign", "gateway")
        (directory / "foreign" / "ca.crt").write_bytes(self.authority.certificate.read_bytes())
        self.directories["of the next authority"] = self.next_authority.equip(directory / "next-gateway", "gateway")
        served = {"grpc_tls_dir": self.directories["inventory"], "migrate_on_start": True, **NO_DRAIN}
        self.inventories = {
            transport: started.enter_context(Inventory(database_url, transport=transport, **served))
            for transport in TRANSPORTS
        }
        addresses = [each.wait_until_serving().address for each in self.inventories.values()]
        own = self.directories["gateway"]
        proven = {"http_tls_dir": own, "inventory_tls_dir": own, **NO_DRAIN}
        self.gateway = started.enter_context(Gateway(addresses, **proven)).wait_until_serving()
        gateways = [self.gateway.url.removeprefix("https://")]
        self.edge = started.enter_context(Edge(gateways, addresses, workload_tls_dir=self.directories["edge"]))
        self.edge.wait_for("serving")
        self.target = self.edge.target


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
        trusted = (tiers.authority, tiers.next_authority)
        roots = b"".join(each.certificate.read_bytes() for each in trusted)
        credentials = grpc.ssl_channel_credentials(roots, own and own.key, own and own.chain)
        options = [("grpc.ssl_target_name_override", "inventory"), ("grpc.enable_http_proxy", 0)]
        channel = grpc.aio.secure_channel(tiers.inventories[transport].address, credentials, options)
        opened(SimpleNamespace(close=channel.close))
        return channel

    return channel
