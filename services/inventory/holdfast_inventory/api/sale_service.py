"""SaleService: creates sales, moves their stock, and shows their history."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from holdfast.inventory.v1 import report_pb2, sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as pb
from holdfast_inventory.api import messages, page_tokens, reports, sale_requests, schedule_requests
from holdfast_inventory.api.call import Call
from holdfast_inventory.domain import change as domain
from holdfast_inventory.domain.commands import Sweep
from holdfast_inventory.domain.decide import Adjusted, Swept
from holdfast_inventory.domain.schedule import Schedule
from holdfast_inventory.watches.events import Change, Heartbeat, Snapshot, StockEvent

if TYPE_CHECKING:
    from holdfast_inventory.postgres.catalog import Catalog, SaleView
    from holdfast_inventory.postgres.refusal_store import RefusalStore
    from holdfast_inventory.stock.stock_ledger import StockLedger
    from holdfast_inventory.watches.feed import StockFeed


class SaleService:
    """The methods of SaleService. They raise DomainError for a refusal."""

    def __init__(
        self,
        ledger: "StockLedger",
        catalog: "Catalog",
        feed: "StockFeed",
        refusals: "RefusalStore",
        on_schedule: Callable[[], None],
    ) -> None:
        """`on_schedule` is called after a schedule was created or changed."""
        self._ledger = ledger
        self._catalog = catalog
        self._feed = feed
        self._refusals = refusals
        self._on_schedule = on_schedule

    # Sales

    async def create_sale(self, request: pb.CreateSaleRequest, call: Call) -> sale_pb2.Sale:
        """Create a sale with its items."""
        return _sale(await self._catalog.create_sale(sale_requests.create_sale(request), call.cause))

    async def get_sale(self, request: pb.GetSaleRequest, _: Call) -> sale_pb2.Sale:
        """Read one."""
        return _sale(await self._catalog.get_sale(sale_requests.sale_name(request.name)))

    async def list_sales(self, request: pb.ListSalesRequest, _: Call) -> pb.ListSalesResponse:
        """List sales by id."""
        wanted = sale_requests.list_sales(request)
        found, cursor = await self._catalog.list_sales(
            wanted.page.page_size, wanted.page.cursor, wanted.state, wanted.schedule_id, wanted.labels
        )
        token = page_tokens.next_page(cursor, wanted.page.filters)
        return pb.ListSalesResponse(sales=[_sale(view) for view in found], next_page_token=token)

    async def update_sale(self, request: pb.UpdateSaleRequest, call: Call) -> sale_pb2.Sale:
        """Change a sale's rules."""
        wanted, changes = sale_requests.update_sale(request)
        condition = await self._condition(wanted, call)
        return _changed(await self._catalog.update_sale(wanted.sale_id, changes, call.cause, condition), call)

    async def pause_sale(self, request: pb.PauseSaleRequest, call: Call) -> sale_pb2.Sale:
        """Refuse new holds."""
        return await self._set_paused(request, call, paused=True)

    async def resume_sale(self, request: pb.ResumeSaleRequest, call: Call) -> sale_pb2.Sale:
        """Accept new holds again."""
        return await self._set_paused(request, call, paused=False)

    async def cancel_sale(self, request: pb.CancelSaleRequest, call: Call) -> sale_pb2.Sale:
        """End a sale finally. If this is interrupted, the sweeper releases the remaining holds."""
        wanted = sale_requests.change_sale(request)
        _changed(await self._catalog.cancel_sale(wanted.sale_id, call.cause, await self._condition(wanted, call)), call)
        while True:
            swept = await self._ledger.execute(wanted.sale_id, Sweep(), call.deadline)
            if not isinstance(swept, Swept) or swept.ended == 0:
                return _sale(await self._catalog.get_sale(wanted.sale_id))

    async def delete_sale(self, request: pb.DeleteSaleRequest, call: Call) -> Empty:
        """Delete a sale without a history."""
        sale_id, etag = sale_requests.delete_sale(request)
        await self._catalog.delete_sale(sale_id, call.cause, etag)
        return Empty()

    async def _set_paused(
        self, request: pb.PauseSaleRequest | pb.ResumeSaleRequest, call: Call, *, paused: bool
    ) -> sale_pb2.Sale:
        wanted = sale_requests.change_sale(request)
        condition = await self._condition(wanted, call)
        return _changed(await self._catalog.set_paused(wanted.sale_id, paused, call.cause, condition), call)

    async def _condition(self, wanted: sale_requests.RuleChange, call: Call) -> domain.Condition:
        return wanted.condition(await self._change_id(wanted.sale_id, wanted.request_id, call))

    async def _change_id(self, sale_id: str, request_id: str, call: Call) -> UUID | None:
        return await self._ledger.stock_change_id(sale_id, request_id, call.deadline) if request_id else None

    async def list_sale_changes(self, request: pb.ListSaleChangesRequest, _: Call) -> pb.ListSaleChangesResponse:
        """List the changes of a sale's rules in order."""
        sale_id, after, page = sale_requests.list_changes(request)
        # One more than the page holds tells whether there is a next page.
        found = await self._catalog.list_changes(sale_id, after, page.page_size + 1)
        changes, token = changes_page(found, page)
        return pb.ListSaleChangesResponse(changes=changes, next_page_token=token)

    # Items and their stock

    async def create_item(self, request: pb.CreateItemRequest, call: Call) -> sale_pb2.Item:
        """Add an item to a sale."""
        sale_id, item = sale_requests.create_item(request)
        return messages.item(sale_id, await self._catalog.create_item(sale_id, item, call.cause))

    async def batch_create_items(self, request: pb.BatchCreateItemsRequest, call: Call) -> pb.BatchCreateItemsResponse:
        """Add items to a sale."""
        sale_id, items = sale_requests.create_items(request)
        created = await self._catalog.create_items(sale_id, items, call.cause)
        return pb.BatchCreateItemsResponse(items=[messages.item(sale_id, each) for each in created])

    async def get_item(self, request: pb.GetItemRequest, _: Call) -> sale_pb2.Item:
        """Read one."""
        sale_id, item_id = sale_requests.get_item(request)
        return messages.item(sale_id, await self._catalog.get_item(sale_id, item_id))

    async def list_items(self, request: pb.ListItemsRequest, _: Call) -> pb.ListItemsResponse:
        """List a sale's items by id."""
        sale_id, page = sale_requests.list_items(request)
        found, cursor = await self._catalog.list_items(sale_id, page.page_size, page.cursor)
        token = page_tokens.next_page(cursor, page.filters)
        return pb.ListItemsResponse(items=[messages.item(sale_id, known) for known in found], next_page_token=token)

    async def update_item(self, request: pb.UpdateItemRequest, call: Call) -> sale_pb2.Item:
        """Change an item's limit, and set its stock."""
        wanted = sale_requests.update_item(request)
        change_id = await self._change_id(wanted.sale_id, wanted.request_id, call)
        item, call.replayed = await self._catalog.update_item(
            wanted.sale_id,
            wanted.item_id,
            wanted.changes,
            call.cause._replace(actor=wanted.actor or call.cause.actor),
            domain.Condition(change_id, wanted.fingerprint),
        )
        return messages.item(wanted.sale_id, item)

    async def adjust_stock(self, request: pb.AdjustStockRequest, call: Call) -> sale_pb2.Item:
        """Change on_hand by hand."""
        wanted = sale_requests.adjust(request)
        change_id = await self._ledger.stock_change_id(wanted.sale_id, wanted.request_id, call.deadline)
        reply = await self._ledger.execute(wanted.sale_id, wanted.command(change_id), call.deadline)
        if not isinstance(reply, Adjusted):
            raise TypeError(f"an adjustment was answered with {reply!r}")
        call.replayed = reply.replayed
        return messages.item(wanted.sale_id, reply.item)

    async def transfer_stock(self, request: pb.TransferStockRequest, call: Call) -> pb.TransferStockResponse:
        """Move units to another sale."""
        wanted = sale_requests.transfer(request)
        change_id = await self._ledger.stock_change_id(wanted.source_sale_id, wanted.request_id, call.deadline)
        transferred = await self._ledger.transfer(wanted.command(change_id), call.deadline)
        call.replayed = transferred.replayed
        return pb.TransferStockResponse(
            source=messages.item(wanted.source_sale_id, transferred.source),
            destination=messages.item(wanted.destination_sale_id, transferred.destination),
        )

    async def watch_stock(self, request: pb.WatchStockRequest, _: Call) -> AsyncGenerator[pb.WatchStockResponse]:
        """Follow a sale's stock."""
        wanted = sale_requests.watch_stock(request)
        async with aclosing(self._feed.watch_stock(wanted.sale_id, wanted.resume_token)) as events:
            async for event in events:
                yield _stock_event(wanted.sale_id, event)

    # The ledger

    async def list_movements(self, request: pb.ListMovementsRequest, _: Call) -> pb.ListMovementsResponse:
        """List a sale's movements in sequence."""
        wanted = sale_requests.list_movements(request)
        # One more than the page, to know whether there is a next page.
        found = await self._catalog.list_movements(wanted.sale_id, wanted.after_sequence, wanted.page_size + 1)
        shown = found[: wanted.page_size]
        cursor = str(shown[-1].sequence) if len(found) > len(shown) else None
        return pb.ListMovementsResponse(
            movements=[messages.movement(wanted.sale_id, known) for known in shown],
            next_page_token=page_tokens.next_page(cursor, wanted.filters),
        )

    async def watch_movements(
        self, request: pb.WatchMovementsRequest, _: Call
    ) -> AsyncGenerator[pb.WatchMovementsResponse]:
        """Follow a sale's movements."""
        wanted = sale_requests.watch_movements(request)
        watch = self._feed.watch_movements(wanted.sale_id, wanted.after_sequence, wanted.resume_token)
        async with aclosing(watch) as events:
            async for event in events:
                yield pb.WatchMovementsResponse(
                    movements=[messages.movement(wanted.sale_id, known) for known in event.movements],
                    resume_token=event.resume_token,
                )

    async def verify_ledger(self, request: pb.VerifyLedgerRequest, _: Call) -> pb.VerifyLedgerResponse:
        """Check that the movements sum up to the stock."""
        verification = await self._catalog.verify(sale_requests.sale_name(request.name))
        return pb.VerifyLedgerResponse(
            consistent=not verification.discrepancies,
            sequence=verification.sequence,
            discrepancies=[
                pb.VerifyLedgerResponse.Discrepancy(item=item_id, field=field, stored=stored, summed=summed)
                for item_id, field, stored, summed in verification.discrepancies
            ],
        )

    async def get_sale_report(self, request: pb.GetSaleReportRequest, _: Call) -> report_pb2.SaleReport:
        """Report how a sale went."""
        sale_id = sale_requests.sale_name(request.name)
        return reports.sale_report(sale_id, await self._catalog.sale_report(sale_id))

    async def list_refusals(self, request: pb.ListRefusalsRequest, _: Call) -> pb.ListRefusalsResponse:
        """List why a customer was refused."""
        found = await self._refusals.list_customer_refusals(*sale_requests.list_refusals(request))
        return pb.ListRefusalsResponse(refusals=map(reports.customer_refusal, found))

    # Schedules

    async def create_sale_schedule(self, request: pb.CreateSaleScheduleRequest, call: Call) -> sale_pb2.SaleSchedule:
        """Open sales by a period or a calendar."""
        created = await self._catalog.create_schedule(schedule_requests.create_schedule(request), call.cause)
        return await self._changed(created)

    async def get_sale_schedule(self, request: pb.GetSaleScheduleRequest, _: Call) -> sale_pb2.SaleSchedule:
        """Read one."""
        schedule_id = schedule_requests.schedule_name(request.name)
        known = await self._catalog.get_schedule(schedule_id)
        return messages.schedule(known, await self._catalog.database_now())

    async def list_sale_schedules(self, request: pb.ListSaleSchedulesRequest, _: Call) -> pb.ListSaleSchedulesResponse:
        """List schedules by id."""
        page = schedule_requests.list_schedules(request)
        found, cursor = await self._catalog.list_schedules(page.page_size, page.cursor)
        now = await self._catalog.database_now()
        return pb.ListSaleSchedulesResponse(
            sale_schedules=[messages.schedule(known, now) for known in found],
            next_page_token=page_tokens.next_page(cursor, page.filters),
        )

    async def update_sale_schedule(self, request: pb.UpdateSaleScheduleRequest, call: Call) -> sale_pb2.SaleSchedule:
        """Change a schedule. Its existing sales stay."""
        schedule_id, changes = schedule_requests.update_schedule(request)
        return await self._changed(await self._catalog.update_schedule(schedule_id, changes, call.cause))

    async def pause_sale_schedule(self, request: pb.PauseSaleScheduleRequest, call: Call) -> sale_pb2.SaleSchedule:
        """Create no more sales."""
        schedule_id = schedule_requests.schedule_name(request.name)
        return await self._changed(await self._catalog.set_schedule_paused(schedule_id, paused=True, cause=call.cause))

    async def resume_sale_schedule(self, request: pb.ResumeSaleScheduleRequest, call: Call) -> sale_pb2.SaleSchedule:
        """Create sales again."""
        schedule_id = schedule_requests.schedule_name(request.name)
        return await self._changed(await self._catalog.set_schedule_paused(schedule_id, paused=False, cause=call.cause))

    async def run_sale_schedule(self, request: pb.RunSaleScheduleRequest, call: Call) -> sale_pb2.Sale:
        """Open a sale now."""
        sale_id, call.replayed = await self._catalog.run_schedule(*schedule_requests.run_schedule(request), call.cause)
        return _sale(await self._catalog.get_sale(sale_id))

    async def delete_sale_schedule(self, request: pb.DeleteSaleScheduleRequest, call: Call) -> Empty:
        """Delete a schedule. Its existing sales stay."""
        await self._catalog.delete_schedule(schedule_requests.schedule_name(request.name), call.cause)
        return Empty()

    async def list_sale_schedule_changes(
        self, request: pb.ListSaleScheduleChangesRequest, _: Call
    ) -> pb.ListSaleScheduleChangesResponse:
        """List the changes of a schedule in order."""
        schedule_id, after, page = schedule_requests.list_changes(request)
        found = await self._catalog.list_schedule_changes(schedule_id, after, page.page_size + 1)
        changes, token = changes_page(found, page)
        return pb.ListSaleScheduleChangesResponse(changes=changes, next_page_token=token)

    async def _changed(self, schedule: Schedule) -> sale_pb2.SaleSchedule:
        self._on_schedule()
        return messages.schedule(schedule, await self._catalog.database_now())


def _sale(view: "SaleView") -> sale_pb2.Sale:
    return messages.sale(view.sale, view.state)


def _changed(view: "SaleView", call: Call) -> sale_pb2.Sale:
    call.replayed = view.replayed
    return _sale(view)


def changes_page(
    found: Sequence[domain.Change], page: sale_requests.ListRequest
) -> tuple[Iterable[pb.SaleChange], str]:
    """Return a page of changes, and the token of the next. `found` has one more than the page if there is one."""
    shown = found[: page.page_size]
    cursor = str(shown[-1].number) if len(found) > len(shown) else None
    return map(messages.change, shown), page_tokens.next_page(cursor, page.filters)


def _stock_event(sale_id: str, event: StockEvent) -> pb.WatchStockResponse:
    response = pb.WatchStockResponse
    match event:
        case Snapshot(items, sequence, lagged, resume_token):
            snapshot = response.Snapshot(
                items=[messages.item(sale_id, known) for known in items], sequence=sequence, lagged=lagged
            )
            return response(snapshot=snapshot, resume_token=resume_token)
        case Change(items, previous_sequence, sequence, resume_token):
            change = response.Change(
                items=[messages.item(sale_id, known) for known in items],
                previous_sequence=previous_sequence,
                sequence=sequence,
            )
            return response(change=change, resume_token=resume_token)
        case Heartbeat(sequence, resume_token):
            return response(heartbeat=response.Heartbeat(sequence=sequence), resume_token=resume_token)
