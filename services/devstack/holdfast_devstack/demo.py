"""The demo data of a new stack, created through the REST API, and commands to try."""

import json
import urllib.error
import urllib.request
from typing import Any, Final

from holdfast_chassis import direct
from holdfast_devstack.child_process import StartError
from holdfast_devstack.demo_issuer import DemoIssuer

SALE: Final = "demo"
SCHEDULE: Final = "hourly"

_TIMEOUT_SECONDS = 10.0
_OK = 200
_UNAUTHENTICATED = 401
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


def create(base_url: str, issuer: DemoIssuer | None) -> bool:
    """Create the demo sale and the hourly schedule if they do not exist; with an `issuer`, as its operator.

    Return whether that was possible: not without the demo issuer, where callers need a credential of another one.

    Raises StartError if the gateway refuses, with its answer, or does not answer.
    """
    credential = None if issuer is None else issuer.credential("operator")
    for url, body in (
        (f"{base_url}/v1/sales?sale_id={SALE}", _DEMO_SALE),
        (f"{base_url}/v1/saleSchedules?schedule_id={SCHEDULE}", _HOURLY_SCHEDULE),
    ):
        status, answer = _post(url, body, credential)
        if issuer is None and status == _UNAUTHENTICATED:
            return False
        if status not in (_OK, _CONFLICT):
            raise StartError(f"POST {url} was refused: {status} {answer}")
    return True


def _post(url: str, body: dict[str, Any], credential: str | None) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"}
    if credential is not None:
        headers["Authorization"] = f"Bearer {credential}"
    request = urllib.request.Request(  # noqa: S310 - our own address
        url, data=json.dumps(body).encode(), headers=headers, method="POST"
    )
    try:
        with direct.urlopen(request, _TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except OSError as error:
        raise StartError(f"POST {url} got no answer: {error}") from error


def tour(base_url: str, grpc_target: str, issuer: DemoIssuer | None) -> str:
    """Return commands to paste into another terminal; with an `issuer`, each with a credential."""
    sale = f"{base_url}/v1/sales/{SALE}"
    line = '{"item": "sneaker-42", "quantity": 1}'
    post = "curl -s -H content-type:application/json"
    buyer, shop, operator = ("", "", "") if issuer is None else map(_header, ("buyer", "shop", "operator"))
    customer = '"customer": "c-1", ' if issuer is None else ""
    return f"""\
Try it from another terminal: hold one, buy it, look at the stock.
{"" if issuer is None else _credentials(issuer)}
  hold=$({post}{buyer} {sale}/reservations -d '{{{customer}"lines": [{line}]}}' \
| grep -o 'sales/[^"]*'); echo "$hold"
  {post}{buyer} "{base_url}/v1/${{hold}}:confirm" -d '{{"order": "o-1"}}'
  curl -s{operator} {sale}/items/sneaker-42

The same over gRPC:

  grpcurl -plaintext{shop} -d '{{"parent": "sales/{SALE}", "customer": "c-2", "lines": [{line}]}}' \
{grpc_target} holdfast.inventory.v1.ReservationService/CreateReservation
{"" if issuer is None else _refused_call(base_url, issuer, f"{post}{buyer} {sale}:cancel -d '{{}}'")}
The sale of this hour: {base_url}/v1/sales?schedule=saleSchedules/{SCHEDULE}&state=OPEN
How a sale goes:       {sale}:report
The whole API:         {base_url}/docs
"""


def _header(caller: str) -> str:
    return f' -H "authorization: Bearer ${caller}"'


def _credentials(issuer: DemoIssuer) -> str:
    loads = " ".join(f'{caller}="$(cat {issuer.path_of(caller)})"' for caller in ("buyer", "shop", "operator"))
    return f"""\
A buyer has a token, the shop and an operator have a key. `holdfast token` makes more tokens.

  {loads}
"""


def _refused_call(base_url: str, issuer: DemoIssuer, command: str) -> str:
    """Return a command that is refused, and how: it was tried."""
    status, answer = _post(f"{base_url}/v1/sales/{SALE}:cancel", {}, issuer.credential("buyer"))
    return f"""
A buyer must not cancel a sale:

  {command}
  -> {status} {json.loads(answer).get("detail", "")}
"""
