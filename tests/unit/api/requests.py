"""A valid request of every method, and who checks it."""

from datetime import UTC, datetime, timedelta

from holdfast.inventory.v1 import movement_pb2, reservation_service_pb2, sale_pb2, sale_service_pb2
from holdfast_inventory.api import reservation_requests, sale_requests, schedule_requests

RESERVATION = "sales/drop-1/reservations/0b6f1f0e-6a3c-4d5e-8f70-8192a3b4c5d6"
TOKEN_OF_NO_LIST = "x" * 20


def create_reservation():
    return reservation_service_pb2.CreateReservationRequest(
        parent="sales/drop-1",
        customer="c-1",
        lines=[reservation_service_pb2.Line(item="cap", quantity=1)],
        hold_time=timedelta(seconds=30),
        confirm=True,
        order="o-1",
        request_id="r-1",
    )


def get_reservation():
    return reservation_service_pb2.GetReservationRequest(name=RESERVATION, customer="c-1")


def list_reservations():
    return reservation_service_pb2.ListReservationsRequest(parent="sales/drop-1", page_size=10, customer="c-1", state=1)


def confirm_reservation():
    return reservation_service_pb2.ConfirmReservationRequest(name=RESERVATION, order="o-1", customer="c-1")


def release_reservation():
    return reservation_service_pb2.ReleaseReservationRequest(name=RESERVATION, customer="c-1")


def extend_reservation():
    return reservation_service_pb2.ExtendReservationRequest(
        name=RESERVATION, expire_time=datetime(2030, 1, 1, tzinfo=UTC), customer="c-1"
    )


def submit():
    command = reservation_service_pb2.Command(create=create_reservation(), timeout=timedelta(seconds=1))
    return reservation_service_pb2.SubmitRequest(parent="sales/drop-1", commands=[command])


def sale():
    return sale_pb2.Sale(
        name="sales/drop-1",
        open_time=datetime(2030, 1, 1, tzinfo=UTC),
        close_time=datetime(2030, 1, 2, tzinfo=UTC),
        per_customer_limit=2,
        hold_time=timedelta(seconds=60),
        max_hold_time=timedelta(seconds=600),
        items=[sale_pb2.Item(item="cap", on_hand=5, per_customer_limit=1)],
    )


def create_sale():
    return sale_service_pb2.CreateSaleRequest(sale_id="drop-1", sale=sale())


def update_sale():
    request = sale_service_pb2.UpdateSaleRequest(sale=sale())
    request.update_mask.paths.extend(["open_time", "close_time", "per_customer_limit", "hold_time", "max_hold_time"])
    return request


def list_sales():
    return sale_service_pb2.ListSalesRequest(page_size=10, state=2, schedule="saleSchedules/hourly")


def get_sale():
    return sale_service_pb2.GetSaleRequest(name="sales/drop-1")


def create_item():
    item = sale_pb2.Item(on_hand=5, per_customer_limit=1)
    return sale_service_pb2.CreateItemRequest(parent="sales/drop-1", item_id="cap", item=item)


def get_item():
    return sale_service_pb2.GetItemRequest(name="sales/drop-1/items/cap")


def list_items():
    return sale_service_pb2.ListItemsRequest(parent="sales/drop-1", page_size=10)


def adjust_stock():
    return sale_service_pb2.AdjustStockRequest(
        name="sales/drop-1/items/cap",
        delta=-3,
        reason=movement_pb2.Movement.DAMAGED,
        expected_version=7,
        request_id="r-1",
        actor="ann",
    )


def transfer_stock():
    return sale_service_pb2.TransferStockRequest(
        source="sales/main/items/cap",
        destination="sales/drop-1/items/cap",
        quantity=5,
        request_id="r-1",
        actor="ann",
    )


def watch_stock():
    return sale_service_pb2.WatchStockRequest(name="sales/drop-1")


def list_movements():
    return sale_service_pb2.ListMovementsRequest(parent="sales/drop-1", after_sequence=3, page_size=10)


def watch_movements():
    return sale_service_pb2.WatchMovementsRequest(parent="sales/drop-1", after_sequence=3)


def create_sale_schedule():
    schedule = sale_pb2.SaleSchedule(
        period=timedelta(hours=1),
        open_duration=timedelta(minutes=10),
        template=sale(),
        source_sale="sales/main",
        remainder=sale_pb2.SaleSchedule.RETURN,
    )
    return sale_service_pb2.CreateSaleScheduleRequest(schedule_id="hourly", sale_schedule=schedule)


def list_sale_schedules():
    return sale_service_pb2.ListSaleSchedulesRequest(page_size=10)


def get_sale_schedule():
    return sale_service_pb2.GetSaleScheduleRequest(name="saleSchedules/hourly")


def check_submit(request):
    sale_id = reservation_requests.submit(request)
    for command in request.commands:
        reservation_requests.command(command, sale_id)
        reservation_requests.timeout_seconds(command)


def by_name(check):
    return lambda request: check(request.name)


CHECKS = {
    create_reservation: reservation_requests.create,
    get_reservation: reservation_requests.get,
    list_reservations: reservation_requests.list_reservations,
    confirm_reservation: reservation_requests.confirm,
    release_reservation: reservation_requests.release,
    extend_reservation: reservation_requests.extend,
    submit: check_submit,
    create_sale: sale_requests.create_sale,
    update_sale: sale_requests.update_sale,
    list_sales: sale_requests.list_sales,
    get_sale: by_name(sale_requests.sale_name),
    create_item: sale_requests.create_item,
    get_item: sale_requests.get_item,
    list_items: sale_requests.list_items,
    adjust_stock: sale_requests.adjust,
    transfer_stock: sale_requests.transfer,
    watch_stock: sale_requests.watch_stock,
    list_movements: sale_requests.list_movements,
    watch_movements: sale_requests.watch_movements,
    create_sale_schedule: schedule_requests.create_schedule,
    list_sale_schedules: schedule_requests.list_schedules,
    get_sale_schedule: by_name(schedule_requests.schedule_name),
}
"""By the maker of a valid request. Methods that have a name alone share the check of get_sale or get_sale_schedule."""
