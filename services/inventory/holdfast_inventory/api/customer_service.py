"""CustomerService: exports and erases what is stored about a customer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.inventory.v1 import customer_service_pb2 as pb
from holdfast_inventory.api import messages, page_tokens, reports
from holdfast_inventory.api.call import Call
from holdfast_inventory.api.checks import Checking
from holdfast_inventory.api.names import sale_name
from holdfast_inventory.api.sale_requests import ListRequest, list_page
from holdfast_inventory.domain.refusal import CustomerRefusal
from holdfast_inventory.domain.reservation import ReservationFilter

if TYPE_CHECKING:
    from holdfast_inventory.postgres.catalog import Catalog
    from holdfast_inventory.postgres.erasure_store import ErasureStore

_STEPS_AT_ONCE = 20
_MOST_REFUSALS = 1_000


def export(request: pb.ExportCustomerRequest) -> tuple[str, ListRequest]:
    """Check an export. Return the customer and the page."""
    with Checking() as checks:
        return checks.customer("name", request.name), list_page(checks, request, "customer", request.name)


def erase(request: pb.EraseCustomerRequest) -> str:
    """Check an erasure. Return the customer."""
    with Checking() as checks:
        return checks.customer("name", request.name)


class CustomerService:
    """The methods of CustomerService. They raise DomainError for a refusal."""

    def __init__(self, catalog: "Catalog", erasures: "ErasureStore", on_erasure: Callable[[], None]) -> None:
        """`on_erasure` is called if the background has to complete an erasure."""
        self._catalog = catalog
        self._erasures = erasures
        self._on_erasure = on_erasure

    async def export_customer(self, request: pb.ExportCustomerRequest, _: Call) -> pb.ExportCustomerResponse:
        """Read a page of a customer's data."""
        customer, page = export(request)
        refusals = [] if page.cursor else await self._erasures.refusals_of(customer, _MOST_REFUSALS)
        wanted = ReservationFilter(sale_id=None, customer=customer)
        found, cursor = await self._catalog.list_reservations(wanted, page.page_size, page.cursor)
        return pb.ExportCustomerResponse(
            records=[
                *(pb.CustomerRecord(refusal=_refusal(each)) for each in refusals),
                *(pb.CustomerRecord(reservation=messages.reservation(*each)) for each in found),
            ],
            next_page_token=page_tokens.next_page(cursor, page.filters),
        )

    async def erase_customer(self, request: pb.EraseCustomerRequest, call: Call) -> pb.EraseCustomerResponse:
        """Erase a customer, or so much that the call stays short; the background does the rest."""
        customer = erase(request)
        await self._erasures.begin(customer, call.cause)
        response = pb.EraseCustomerResponse()
        for _ in range(_STEPS_AT_ONCE):
            erased = await self._erasures.step(customer)
            if erased.pseudonym:  # Not if another worker has done the last step.
                response.pseudonym, response.reservations = erased.pseudonym, erased.reservations
            if erased.done:
                response.done = True
                return response
        self._on_erasure()
        return response


def _refusal(known: CustomerRefusal) -> pb.SaleRefusal:
    return pb.SaleRefusal(sale=sale_name(known.sale_id), refusal=reports.customer_refusal(known))
