"""Every method, once around, over gRPC and a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from structlog.testing import capture_logs

from holdfast.inventory.v1 import movement_pb2, refusal_pb2, sale_pb2
from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast.inventory.v1 import sale_service_pb2 as sp
from lab.kit.grpc_client import create
from lab.kit.refusals import reason_of, refused, told
from tests.support.eventually import eventually
from tests.support.postgres import on_every_version
from tests.support.service import running_service

HELD, CONFIRMED, RELEASED = pb.Reservation.HELD, pb.Reservation.CONFIRMED, pb.Reservation.RELEASED
SALE = "sales/drop-1"


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def item(service, name="cap", sale_id="drop-1"):
    return await service.sales.GetItem(sp.GetItemRequest(name=f"sales/{sale_id}/items/{name}"))


@on_every_version
async def test_a_unit_is_held_and_sold(service):
    sale = await service.create_sale(cap=5)
    held = await service.hold(cap=2)
    sold = await service.reservations.ConfirmReservation(pb.ConfirmReservationRequest(name=held.name, order="o-1"))
    read = await service.reservations.GetReservation(pb.GetReservationRequest(name=held.name))
    level = await item(service)
    assert (sale.state, held.state, sold.state, sold.order) == (sale_pb2.Sale.OPEN, HELD, CONFIRMED, "o-1")
    assert held.expire_time.ToDatetime() - held.create_time.ToDatetime() == timedelta(seconds=120)
    assert read == sold
    assert (level.on_hand, level.held, level.available, level.sold) == (3, 0, 3, 2)


async def test_a_hold_is_given_back_and_extended(service):
    await service.create_sale(cap=5)
    held = await service.hold(cap=2)
    later = held.create_time.ToDatetime(UTC) + timedelta(seconds=600)
    extension = pb.ExtendReservationRequest(name=held.name, expire_time=later)
    assert (await service.reservations.ExtendReservation(extension)).expire_time.ToDatetime(UTC) == later
    released = await service.reservations.ReleaseReservation(pb.ReleaseReservationRequest(name=held.name))
    assert released.state == RELEASED
    assert (await item(service)).available == 5


async def test_sold_units_come_back_once_for_each_request_id(service):
    await service.create_sale(cap=5)
    held = await service.hold(cap=3)
    sold = await service.reservations.ConfirmReservation(pb.ConfirmReservationRequest(name=held.name))
    back = pb.ReturnReservationRequest(
        name=sold.name, lines=[pb.Line(item="cap", quantity=2)], request_id="b-1", restock=False, reason="DAMAGED"
    )
    first, again = service.reservations.ReturnReservation(back), service.reservations.ReturnReservation(back)
    assert [(line.item, line.quantity) for line in (await first).returned_lines] == [("cap", 2)]
    assert await again == await first
    level = await item(service)
    assert (level.on_hand, level.sold) == (2, 1)
    error = await refusal(
        service.reservations.ReturnReservation(pb.ReturnReservationRequest(name=sold.name, lines=back.lines))
    )
    assert reason_of(error) == "NOT_RETURNABLE"
    rest = await service.reservations.ReturnReservation(pb.ReturnReservationRequest(name=sold.name))
    assert [(line.item, line.quantity) for line in rest.returned_lines] == [("cap", 3)]
    level = await item(service)
    assert (level.on_hand, level.sold) == (3, 0)


async def test_a_request_id_makes_it_happen_once(service):
    await service.create_sale(cap=5)
    first, again = service.hold(request_id="r-1", cap=1), service.hold(request_id="r-1", cap=1)
    assert (await first).name == (await again).name
    replays = [("idempotent-replayed", "true") in tuple(await call.trailing_metadata()) for call in (first, again)]
    assert sorted(replays) == [False, True]
    assert reason_of(await refusal(service.hold(request_id="r-1", cap=2))) == "REQUEST_ID_REUSED"


async def test_another_customers_reservation_does_not_exist(service):
    await service.create_sale(cap=5)
    held = await service.hold("c-1", cap=1)
    for call in (
        service.reservations.GetReservation(pb.GetReservationRequest(name=held.name, customer="c-2")),
        service.reservations.ReleaseReservation(pb.ReleaseReservationRequest(name=held.name, customer="c-2")),
    ):
        assert reason_of(await refusal(call)) == "NOT_FOUND"


async def test_what_is_short_is_reported(service):
    await service.create_sale(cap=1)
    error = await refusal(service.hold(cap=2))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_STOCK")


async def test_a_submit_has_an_outcome_for_each_command(service):
    await service.create_sale(cap=3)
    held = await service.hold(cap=1)
    commands = [
        pb.Command(create=create(SALE, "c-1", cap=1)),
        pb.Command(create=create(SALE, "c-2", cap=0)),
        pb.Command(create=create(SALE, "c-3", cap=2)),
        pb.Command(confirm=pb.ConfirmReservationRequest(name=held.name)),
        pb.Command(confirm=pb.ConfirmReservationRequest(name=held.name)),
        pb.Command(create=create(SALE, "c-4", cap=1), timeout=Duration()),
        pb.Command(),
    ]
    outcomes = (await service.reservations.Submit(pb.SubmitRequest(parent=SALE, commands=commands))).outcomes
    answers = [
        told(each.error).reason if each.HasField("error") else (each.reservation.state, each.replayed)
        for each in outcomes
    ]
    assert answers == [
        (HELD, False),
        "INVALID_REQUEST",
        "INSUFFICIENT_STOCK",
        (CONFIRMED, False),
        (CONFIRMED, True),
        "DEADLINE_IN_QUEUE",
        "INVALID_REQUEST",
    ]


async def test_a_submit_to_a_sale_that_is_not_there_is_refused_as_a_whole(service):
    request = pb.SubmitRequest(parent="sales/nowhere", commands=[pb.Command(create=create("", "c-1", cap=1))])
    assert reason_of(await refusal(service.reservations.Submit(request))) == "NOT_FOUND"


async def test_reservations_are_listed_page_by_page_and_filtered(service):
    await service.create_sale(cap=9)
    names = [(await service.hold(f"c-{number % 2}", cap=1)).name for number in range(5)]
    listed, token, pages = [], "", 0
    while token or not pages:
        request = pb.ListReservationsRequest(parent=SALE, page_size=2, page_token=token)
        page = await service.reservations.ListReservations(request)
        listed += [each.name for each in page.reservations]
        token, pages = page.next_page_token, pages + 1
    mine = await service.reservations.ListReservations(
        pb.ListReservationsRequest(parent=SALE, customer="c-1", state=HELD)
    )
    assert listed == names[::-1]
    assert [each.name for each in mine.reservations] == [names[3], names[1]]


async def test_reservations_of_all_sales_are_found_by_order(service):
    for sale_id in ("drop-1", "drop-2"):
        await service.create_sale(sale_id, cap=5)
        held = await service.hold(sale_id=sale_id, cap=1)
        await service.reservations.ConfirmReservation(
            pb.ConfirmReservationRequest(name=held.name, order=f"o-{sale_id}")
        )
    request = pb.ListReservationsRequest(parent="sales/-", order="o-drop-2")
    [found] = (await service.reservations.ListReservations(request)).reservations
    everything = await service.reservations.ListReservations(pb.ListReservationsRequest(parent="sales/-"))
    assert found.name.startswith("sales/drop-2/reservations/")
    assert [each.name.split("/")[1] for each in everything.reservations] == ["drop-2", "drop-1"]


async def test_a_page_token_of_another_list_is_refused(service):
    for sale_id in ("drop-1", "drop-2", "drop-3"):
        await service.create_sale(sale_id, cap=1)
    page = await service.sales.ListSales(sp.ListSalesRequest(page_size=1))
    rest = await service.sales.ListSales(sp.ListSalesRequest(page_token=page.next_page_token))
    other = sp.ListSalesRequest(page_token=page.next_page_token, state=sale_pb2.Sale.OPEN)
    assert [sale.name for sale in (*page.sales, *rest.sales)] == ["sales/drop-3", "sales/drop-2", "sales/drop-1"]
    assert list(refused(await refusal(service.sales.ListSales(other))).violations) == ["page_token"]


async def test_a_sale_is_changed_paused_resumed_and_cancelled(service):
    await service.create_sale(cap=5)
    held = await service.hold(cap=2)
    update = sp.UpdateSaleRequest(sale=sale_pb2.Sale(name=SALE, per_customer_limit=2))
    assert (await service.sales.UpdateSale(update)).per_customer_limit == 2
    assert (await service.sales.PauseSale(sp.PauseSaleRequest(name=SALE))).state == sale_pb2.Sale.PAUSED
    assert reason_of(await refusal(service.hold(cap=1))) == "SALE_PAUSED"
    assert (await service.sales.ResumeSale(sp.ResumeSaleRequest(name=SALE))).state == sale_pb2.Sale.OPEN
    assert reason_of(await refusal(service.hold(cap=1))) == "CUSTOMER_LIMIT_REACHED"
    cancelled = await service.sales.CancelSale(sp.CancelSaleRequest(name=SALE))
    read = await service.reservations.GetReservation(pb.GetReservationRequest(name=held.name))
    assert (cancelled.state, read.state) == (sale_pb2.Sale.CANCELLED, RELEASED)
    assert reason_of(await refusal(service.hold(cap=1))) == "SALE_CLOSED"


async def test_a_sale_that_opens_later_says_when(service):
    opening = datetime(2100, 1, 1, tzinfo=UTC)
    await service.create_sale(rules={"open_time": opening}, cap=5)
    assert reason_of(await refusal(service.hold(cap=1))) == "SALE_NOT_OPEN"


async def test_items_are_added_and_listed(service):
    await service.create_sale(cap=5)
    added = await service.sales.CreateItem(
        sp.CreateItemRequest(parent=SALE, item_id="bag", item=sale_pb2.Item(on_hand=2, per_customer_limit=1))
    )
    listed = await service.sales.ListItems(sp.ListItemsRequest(parent=SALE))
    assert (added.name, added.available, added.per_customer_limit) == ("sales/drop-1/items/bag", 2, 1)
    assert [each.item for each in listed.items] == ["bag", "cap"]
    twice = sp.CreateItemRequest(parent=SALE, item_id="bag", item=sale_pb2.Item())
    assert reason_of(await refusal(service.sales.CreateItem(twice))) == "ALREADY_EXISTS"


async def test_stock_is_adjusted_once_and_only_if_it_is_as_expected(service):
    await service.create_sale(cap=5)
    request = sp.AdjustStockRequest(
        name="sales/drop-1/items/cap", delta=3, reason=movement_pb2.Movement.RECEIVED, request_id="a-1", actor="ann"
    )
    assert [(await service.sales.AdjustStock(request)).on_hand for _ in range(2)] == [8, 8]
    request.request_id, request.expected_version = "a-2", 1
    assert reason_of(await refusal(service.sales.AdjustStock(request))) == "STOCK_CHANGED"


async def test_stock_is_transferred_between_sales(service):
    await service.create_sale("main", cap=9)
    await service.create_sale("drop-1", cap=1)
    request = sp.TransferStockRequest(
        source="sales/main/items/cap", destination="sales/drop-1/items/cap", quantity=4, request_id="t-1"
    )
    moved = [await service.sales.TransferStock(request) for _ in range(2)]
    assert [(each.source.on_hand, each.destination.on_hand) for each in moved] == [(5, 5), (5, 5)]


async def test_the_ledger_is_listed_and_verified(service):
    await service.create_sale(cap=5)
    held = await service.hold(cap=2)
    first = await service.sales.ListMovements(sp.ListMovementsRequest(parent=SALE, page_size=1))
    rest = await service.sales.ListMovements(sp.ListMovementsRequest(parent=SALE, page_token=first.next_page_token))
    verified = await service.sales.VerifyLedger(sp.VerifyLedgerRequest(name=SALE))
    assert [(each.sequence, each.kind) for each in (*first.movements, *rest.movements)] == [
        (1, movement_pb2.Movement.ADJUST),
        (2, movement_pb2.Movement.HOLD),
    ]
    assert (rest.movements[0].reservation, rest.movements[0].held_delta) == (held.name, 2)
    assert (verified.consistent, verified.sequence, list(verified.discrepancies)) == (True, 2, [])


async def test_a_report_says_how_a_sale_went(service):
    await service.create_sale(cap=3, sock=5)
    held = [await service.hold(customer=customer, cap=1) for customer in ("ann", "bob", "cid")]
    for each in held[:2]:
        await service.reservations.ConfirmReservation(pb.ConfirmReservationRequest(name=each.name))
    await service.reservations.ReturnReservation(pb.ReturnReservationRequest(name=held[0].name, restock=True))
    await service.reservations.ReleaseReservation(pb.ReleaseReservationRequest(name=held[2].name))

    report = await service.sales.GetSaleReport(sp.GetSaleReportRequest(name=SALE))

    units = report.units
    assert (units.reserved, units.confirmed, units.released, units.returned, units.sold) == (3, 2, 1, 1, 1)
    assert (units.held, units.expired, units.available, report.customers) == (0, 0, 7, 2)
    assert (report.sale, report.sequence, report.sale_sequence) == (SALE, 9, 9)
    cap, sock = report.items
    assert cap.HasField("sell_out_time")
    assert cap.HasField("time_to_sell_out")
    assert not sock.HasField("sell_out_time")
    assert not report.HasField("sell_out_time")
    assert sum(interval.reserved for interval in report.curve) == 3
    assert sum(interval.confirmed for interval in report.curve) == 2


async def test_refusals_are_in_the_report_and_in_the_customers_list(database_url):
    async with running_service(database_url, refusal_flush_seconds=0.01) as service:
        await service.create_sale(cap=1)
        for _ in range(2):
            await refusal(service.hold("ann", cap=2))
        command = pb.Command(
            create=pb.CreateReservationRequest(customer="ann", lines=[pb.Line(item="cap", quantity=3)])
        )
        unknown = pb.Command(
            create=pb.CreateReservationRequest(customer="ann", lines=[pb.Line(item="hat", quantity=1)])
        )
        await service.reservations.Submit(pb.SubmitRequest(parent=SALE, commands=[command, unknown]))
        await refusal(service.hold("ann", sale_id="nothing", cap=1))

        listing = sp.ListRefusalsRequest(parent=SALE, customer="ann")

        async def listed():
            refusals = (await service.sales.ListRefusals(listing)).refusals
            return refusals if sum(entry.refusals for entry in refusals) == 3 else None

        [entry] = await eventually(listed)
        report = await service.sales.GetSaleReport(sp.GetSaleReportRequest(name=SALE))

    assert (entry.reason, entry.refusals) == (refusal_pb2.Refusal.INSUFFICIENT_STOCK, 3)
    assert list(entry.lines) == [pb.Line(item="cap", quantity=3)]
    [count] = report.refusals
    assert (count.reason, count.refusals) == (refusal_pb2.Refusal.INSUFFICIENT_STOCK, 3)
    assert report.refusal_interval == Duration(seconds=60)
    assert sum(interval.refusals for interval in report.refusal_curve) == 3


async def test_a_stopping_service_writes_the_refusals_that_it_has_counted(database_url):
    async with running_service(database_url, refusal_flush_seconds=3600) as service:
        await service.create_sale(cap=1)
        await refusal(service.hold("ann", cap=2))
    async with running_service(database_url) as service:
        report = await service.sales.GetSaleReport(sp.GetSaleReportRequest(name=SALE))
        found = await service.sales.ListRefusals(sp.ListRefusalsRequest(parent=SALE, customer="ann"))
    assert [count.refusals for count in report.refusals] == [1]
    assert [entry.refusals for entry in found.refusals] == [1]


async def test_stock_and_movements_are_watched_and_resumed(service):
    await service.create_sale(cap=5)
    stock = service.sales.WatchStock(sp.WatchStockRequest(name=SALE))
    movements = service.sales.WatchMovements(sp.WatchMovementsRequest(parent=SALE))
    async with asyncio.timeout(10):
        snapshot, first = await stock.read(), await movements.read()
        await service.hold(cap=2)
        change, second = await stock.read(), await movements.read()
        resumed = service.sales.WatchStock(sp.WatchStockRequest(name=SALE, resume_token=snapshot.resume_token))
        again = await resumed.read()
    assert snapshot.snapshot.items[0].available == 5
    assert (change.change.previous_sequence, change.change.items[0].available) == (1, 3)
    assert again.change == change.change
    assert [each.sequence for each in (*first.movements, *second.movements)] == [1, 2]
    for watch in (stock, movements, resumed):
        watch.cancel()


async def test_a_watch_refuses_a_resume_token_that_it_never_gave(service):
    await service.create_sale(cap=5)
    watch = service.sales.WatchStock(sp.WatchStockRequest(name=SALE, resume_token="mine"))
    assert list(refused(await refusal(watch.read())).violations) == ["resume_token"]


async def test_schedules_are_created_listed_and_deleted(service):
    template = sale_pb2.Sale(items=[sale_pb2.Item(item="cap", on_hand=7)])
    request = sp.CreateSaleScheduleRequest(
        schedule_id="hourly", sale_schedule=sale_pb2.SaleSchedule(period=timedelta(hours=1), template=template)
    )
    made = await service.sales.CreateSaleSchedule(request)
    read = await service.sales.GetSaleSchedule(sp.GetSaleScheduleRequest(name="saleSchedules/hourly"))
    listed = await service.sales.ListSaleSchedules(sp.ListSaleSchedulesRequest())
    assert made == read == listed.sale_schedules[0]
    assert (made.open_duration.seconds, made.remainder) == (3600, sale_pb2.SaleSchedule.STAY)
    assert reason_of(await refusal(service.sales.CreateSaleSchedule(request))) == "ALREADY_EXISTS"
    await service.sales.DeleteSaleSchedule(sp.DeleteSaleScheduleRequest(name="saleSchedules/hourly"))
    gone = service.sales.GetSaleSchedule(sp.GetSaleScheduleRequest(name="saleSchedules/hourly"))
    assert reason_of(await refusal(gone)) == "NOT_FOUND"


async def test_what_does_not_exist_is_not_found(service):
    unknown = "sales/nowhere"
    reservation = f"{unknown}/reservations/0b6f1f0e-6a3c-4d5e-8f70-8192a3b4c5d6"
    calls = [
        service.hold(sale_id="nowhere", cap=1),
        service.hold(sale_id="nowhere", request_id="r-1", cap=1),
        service.reservations.GetReservation(pb.GetReservationRequest(name=reservation)),
        service.reservations.ConfirmReservation(pb.ConfirmReservationRequest(name=reservation)),
        service.reservations.ListReservations(pb.ListReservationsRequest(parent=unknown)),
        service.sales.GetSale(sp.GetSaleRequest(name=unknown)),
        service.sales.PauseSale(sp.PauseSaleRequest(name=unknown)),
        service.sales.CancelSale(sp.CancelSaleRequest(name=unknown)),
        service.sales.ListItems(sp.ListItemsRequest(parent=unknown)),
        service.sales.ListMovements(sp.ListMovementsRequest(parent=unknown)),
        service.sales.VerifyLedger(sp.VerifyLedgerRequest(name=unknown)),
        service.sales.GetSaleReport(sp.GetSaleReportRequest(name=unknown)),
        service.sales.WatchStock(sp.WatchStockRequest(name=unknown)).read(),
    ]
    assert [reason_of(await refusal(call)) for call in calls] == ["NOT_FOUND"] * len(calls)


async def test_a_command_is_traced_to_its_own_caller(service):
    await service.create_sale(cap=3)
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    command = pb.Command(create=create(SALE, "c-1", cap=1), correlation_id="abc", traceparent=parent)
    with capture_logs() as lines:
        await service.reservations.Submit(pb.SubmitRequest(parent=SALE, commands=[command]))
    [line] = [line for line in lines if line["event"] == "command"]
    assert (line["method"], line["reason"]) == ("CreateReservation", "OK")
    assert (line["request_id"], line["trace_id"]) == ("abc", "4bf92f3577b34da6a3ce929d0e0e4736")


@pytest.mark.parametrize(("seconds", "nanos"), [(-62_135_596_800, 0), (253_402_300_799, 999_999_999)])
async def test_the_first_and_the_last_moment_of_time_harm_no_list(service, seconds, nanos):
    """As clients send for "always" and "never"."""
    moment = Timestamp(seconds=seconds, nanos=nanos)
    await service.create_sale("opens", rules={"open_time": moment})
    if seconds > 0:
        await service.create_sale("closes", rules={"close_time": moment})
    for sale in (await service.sales.ListSales(sp.ListSalesRequest())).sales:
        assert await service.sales.GetSale(sp.GetSaleRequest(name=sale.name)) == sale


async def test_what_a_caller_notes_on_a_reservation_is_told_again_and_part_of_its_meaning(service):
    await service.create_sale(cap=3)
    noted = create(SALE, "c-1", "r-1", cap=1)
    noted.labels["channel"], noted.metadata["gift-note"], noted.display_name = "web", "For you!", "Ada"
    held = await service.reservations.CreateReservation(noted)
    again = await service.reservations.CreateReservation(noted)
    assert held == again
    assert (dict(held.labels), dict(held.metadata), held.display_name) == (
        {"channel": "web"}, {"gift-note": "For you!"}, "Ada",
    )  # fmt: skip
    noted.metadata["gift-note"] = "For me!"
    assert reason_of(await refusal(service.reservations.CreateReservation(noted))) == "REQUEST_ID_REUSED"
