"""The demo data of a new stack, created through the REST API, and commands to try."""

import json
import urllib.error
import urllib.request
from typing import Any, Final

from holdfast_chassis import direct
from holdfast_devstack.child_process import StartError

SALE: Final = "demo"
SCHEDULE: Final = "hourly"

_TIMEOUT_SECONDS = 10.0
_CONFLICT = 409

_DEMO_SALE: Final[dict[str, Any]] = {
    "perCustomerLimit": 4,
    "holdTime": "120s",
    "items": [
        {"item": "sneaker-42", "onHand": 50},
        {"item": "sneaker-43", "onHand": 20},
        {"item": "cap", "onHand": 500},
    ],
}
_HOURLY_SCHEDULE: Final[dict[str, Any]] = {
    "period": "3600s",
    "template": {"perCustomerLimit": 4, "holdTime": "120s", "items": [{"item": "ticket", "onHand": 10_000}]},
}


def create(base_url: str) -> None:
    """Create the demo sale and the hourly schedule if they do not exist.

    Raises StartError if the gateway refuses, with its answer, or does not answer.
    """
    _create(f"{base_url}/v1/sales?sale_id={SALE}", _DEMO_SALE)
    _create(f"{base_url}/v1/saleSchedules?schedule_id={SCHEDULE}", _HOURLY_SCHEDULE)


def _create(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own address
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with direct.urlopen(request, _TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        with error:
            problem = error.read().decode(errors="replace")
        if error.code != _CONFLICT:
            raise StartError(f"POST {url} was refused: {error.code} {problem}") from error
    except OSError as error:
        raise StartError(f"POST {url} got no answer: {error}") from error


def tour(base_url: str, grpc_target: str) -> str:
    """Return commands to paste into another terminal."""
    sale = f"{base_url}/v1/sales/{SALE}"
    line = '{"item": "sneaker-42", "quantity": 1}'
    post = "curl -s -H content-type:application/json"
    return f"""\
Try it from another terminal: hold one, buy it, look at the stock.

  hold=$({post} {sale}/reservations -d '{{"customer": "c-1", "lines": [{line}]}}' \
| grep -o 'sales/[^"]*'); echo "$hold"
  {post} "{base_url}/v1/${{hold}}:confirm" -d '{{"order": "o-1"}}'
  curl -s {sale}/items/sneaker-42

The same over gRPC:

  grpcurl -plaintext -d '{{"parent": "sales/{SALE}", "customer": "c-2", "lines": [{line}]}}' \
{grpc_target} holdfast.inventory.v1.ReservationService/CreateReservation

The sale of this hour: {base_url}/v1/sales?schedule=saleSchedules/{SCHEDULE}&state=OPEN
All that it can do:    {base_url}/docs
"""
