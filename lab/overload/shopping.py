"""The mix of requests, as bytes for both transports."""

import json
import random
from collections import deque
from dataclasses import dataclass

import grpc

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast.inventory.v1 import sale_service_pb2 as sales_pb
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast_chassis.contract import METHODS, Kind
from lab.bench.stack import create_sale
from lab.overload.clients import grpc_request, http1_request

# The share of each kind. Few requests end a purchase, so that the system can serve them even at ten times the capacity.
MIX = {"confirm": 0.03, "release": 0.02, "replay": 0.05, "create": 0.6, "read": 0.3}
KINDS = tuple(MIX)
_BY_NAME = {method.name: method for method in METHODS}
_METHODS = {
    "confirm": _BY_NAME["ConfirmReservation"],
    "release": _BY_NAME["ReleaseReservation"],
    "replay": _BY_NAME["CreateReservation"],
    "create": _BY_NAME["CreateReservation"],
    "read": _BY_NAME["GetItem"],
}
FINISHING = [kind for kind, method in _METHODS.items() if method.kind is Kind.FINISH]
ITEM = "hot"
CUSTOMERS = 20_000
_HOLDS_IN_A_SUBMIT = 500
_NETWORKS = {"c": "10.1", "greedy": "10.2", "hot": "10.3"}


@dataclass
class Crowd:
    """Customers of some sales. `customers` 1: a single greedy one."""

    sales: tuple
    customers: int = CUSTOMERS
    prefix: str = "c"
    mix: tuple = tuple(MIX.items())


class Shopping:
    """Makes requests of one transport for a crowd. All are new, except replays."""

    def __init__(self, transport, crowd, seed=0):
        self._make = getattr(self, f"_{transport}")
        self._crowd = crowd
        self._random = random.Random(seed)
        kinds, shares = zip(*crowd.mix, strict=True)
        self._kinds = self._random.choices(kinds, shares, k=4096)
        self._run = f"{self._random.getrandbits(48):x}"
        self._count = 0
        self._granted = deque(maxlen=10_000)
        self.holds = []

    def next(self):
        """Return a kind, its request, and the argument for `granted`. A create if there is nothing to end or repeat."""
        self._count += 1
        kind = self._kinds[self._count % len(self._kinds)]
        if (kind in FINISHING and not self.holds) or (kind == "replay" and not self._granted):
            kind = "create"
        identity = self._identity(kind) if kind in ("create", "replay") else None
        return kind, self._make(kind, identity), identity

    def granted(self, identity):
        """Note that a create was granted, so that it may be repeated."""
        self._granted.append(identity)

    def prepare(self, port, count):
        """Hold a number of reservations, to be confirmed and released later."""
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = ReservationServiceStub(channel)
            while count > 0:
                sale = self._random.choice(self._crowd.sales)
                commands = [
                    pb.Command(create=self._hold(sale, self._customer())) for _ in range(min(count, _HOLDS_IN_A_SUBMIT))
                ]
                response = stub.Submit(pb.SubmitRequest(parent=f"sales/{sale}", commands=commands), timeout=30)
                self.holds += [outcome.reservation.name for outcome in response.outcomes if outcome.reservation.name]
                count -= len(commands)

    def _customer(self):
        return f"{self._crowd.prefix}-{self._random.randrange(self._crowd.customers)}"

    def _hold(self, sale, customer, request_id=""):
        lines = [pb.Line(item=ITEM, quantity=1)]
        return pb.CreateReservationRequest(
            parent=f"sales/{sale}", customer=customer, lines=lines, request_id=request_id
        )

    def _identity(self, kind):
        """Return sale, customer and request id of a create; for a replay those of a granted one."""
        if kind == "replay":
            return self._granted[self._random.randrange(len(self._granted))]
        return self._random.choice(self._crowd.sales), self._customer(), f"{self._run}-{self._count}"

    def _grpc(self, kind, identity):
        customer = self._customer() if identity is None else identity[1]
        # A shop's backend may forward the customer's address.
        headers = [("grpc-timeout", "5S"), self._address(customer)]
        return grpc_request(_METHODS[kind].path, headers, self._message(kind, identity).SerializeToString())

    def _message(self, kind, identity):
        if kind == "read":
            return sales_pb.GetItemRequest(name=f"sales/{self._random.choice(self._crowd.sales)}/items/{ITEM}")
        if kind == "confirm":
            return pb.ConfirmReservationRequest(name=self.holds.pop(), order="o-1")
        if kind == "release":
            return pb.ReleaseReservationRequest(name=self.holds.pop())
        return self._hold(*identity)

    def _rest(self, kind, identity):
        if kind == "read":
            path = f"/v1/sales/{self._random.choice(self._crowd.sales)}/items/{ITEM}"
            return http1_request("GET", path, [self._address(self._customer())])
        if kind in ("confirm", "release"):
            body = b'{"order":"o-1"}' if kind == "confirm" else b"{}"
            return http1_request("POST", f"/v1/{self.holds.pop()}:{kind}", [self._address(self._customer())], body)
        sale, customer, request_id = identity
        body = json.dumps({"customer": customer, "lines": [{"item": ITEM, "quantity": 1}]}).encode()
        headers = [("idempotency-key", request_id), self._address(customer)]
        return http1_request("POST", f"/v1/sales/{sale}/reservations", headers, body)

    @staticmethod
    def _address(customer):
        """Return the shopper's own address, as a proxy before the edge forwards it."""
        prefix, _, number = customer.rpartition("-")
        return "x-forwarded-for", f"{_NETWORKS[prefix]}.{int(number) >> 8}.{int(number) & 255}"


def open_sales(port, names):
    for name in names:
        create_sale(port, name)
