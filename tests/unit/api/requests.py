"""A valid request of every method, and who checks it."""

from functools import partial

from holdfast_inventory.api import (
    customer_service,
    reservation_requests,
    sale_requests,
    schedule_requests,
    webhook_requests,
)
from holdfast_inventory.api.webhook_requests import UrlRules
from tests.support.sound_requests import sound_request

RESERVATION = "sales/drop-1/reservations/0b6f1f0e-6a3c-4d5e-8f70-8192a3b4c5d6"
TOKEN_OF_NO_LIST = "x" * 20


def _maker(method):
    def make():
        return sound_request(method, "sales/drop-1", RESERVATION)

    make.__name__ = method
    return make


create_reservation = _maker("CreateReservation")
get_reservation = _maker("GetReservation")
list_reservations = _maker("ListReservations")
confirm_reservation = _maker("ConfirmReservation")
release_reservation = _maker("ReleaseReservation")
extend_reservation = _maker("ExtendReservation")
return_reservation = _maker("ReturnReservation")
submit = _maker("Submit")
create_sale = _maker("CreateSale")
update_sale = _maker("UpdateSale")
list_sales = _maker("ListSales")
get_sale = _maker("GetSale")
create_item = _maker("CreateItem")
pause_sale = _maker("PauseSale")
resume_sale = _maker("ResumeSale")
cancel_sale = _maker("CancelSale")
delete_sale = _maker("DeleteSale")
update_item = _maker("UpdateItem")
batch_create_items = _maker("BatchCreateItems")
get_item = _maker("GetItem")
list_items = _maker("ListItems")
adjust_stock = _maker("AdjustStock")
transfer_stock = _maker("TransferStock")
watch_stock = _maker("WatchStock")
list_movements = _maker("ListMovements")
list_sale_changes = _maker("ListSaleChanges")
watch_movements = _maker("WatchMovements")
list_refusals = _maker("ListRefusals")
create_sale_schedule = _maker("CreateSaleSchedule")
create_sale_schedule_by_calendar = _maker("CreateSaleSchedule/calendar")
update_sale_schedule = _maker("UpdateSaleSchedule")
run_sale_schedule = _maker("RunSaleSchedule")
list_sale_schedules = _maker("ListSaleSchedules")
get_sale_schedule = _maker("GetSaleSchedule")
list_sale_schedule_changes = _maker("ListSaleScheduleChanges")
create_webhook = _maker("CreateWebhook")
get_webhook = _maker("GetWebhook")
list_webhooks = _maker("ListWebhooks")
update_webhook = _maker("UpdateWebhook")
export_customer = _maker("ExportCustomer")
erase_customer = _maker("EraseCustomer")
rotate_webhook_secret = _maker("RotateWebhookSecret")
list_webhook_deliveries = _maker("ListWebhookDeliveries")
redeliver_movements = _maker("RedeliverMovements")
list_webhook_changes = _maker("ListWebhookChanges")


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
    return_reservation: reservation_requests.return_units,
    submit: check_submit,
    create_sale: sale_requests.create_sale,
    update_sale: sale_requests.update_sale,
    list_sales: sale_requests.list_sales,
    get_sale: by_name(sale_requests.sale_name),
    create_item: sale_requests.create_item,
    **dict.fromkeys((pause_sale, resume_sale, cancel_sale), sale_requests.change_sale),
    delete_sale: sale_requests.delete_sale,
    update_item: sale_requests.update_item,
    batch_create_items: sale_requests.create_items,
    get_item: sale_requests.get_item,
    list_items: sale_requests.list_items,
    adjust_stock: sale_requests.adjust,
    transfer_stock: sale_requests.transfer,
    watch_stock: sale_requests.watch_stock,
    list_movements: sale_requests.list_movements,
    list_sale_changes: sale_requests.list_changes,
    watch_movements: sale_requests.watch_movements,
    list_refusals: sale_requests.list_refusals,
    create_sale_schedule: schedule_requests.create_schedule,
    create_sale_schedule_by_calendar: schedule_requests.create_schedule,
    update_sale_schedule: schedule_requests.update_schedule,
    run_sale_schedule: schedule_requests.run_schedule,
    list_sale_schedules: schedule_requests.list_schedules,
    get_sale_schedule: by_name(schedule_requests.schedule_name),
    list_sale_schedule_changes: schedule_requests.list_changes,
    create_webhook: partial(webhook_requests.create_webhook, rules=UrlRules()),
    get_webhook: by_name(webhook_requests.webhook_name),
    list_webhooks: webhook_requests.list_webhooks,
    export_customer: customer_service.export,
    erase_customer: customer_service.erase,
    update_webhook: partial(webhook_requests.update_webhook, rules=UrlRules()),
    rotate_webhook_secret: webhook_requests.rotate_secret,
    list_webhook_deliveries: webhook_requests.list_deliveries,
    redeliver_movements: webhook_requests.redeliver,
    list_webhook_changes: webhook_requests.list_changes,
}
"""By the maker of a valid request. Methods that have a name alone share the check of get_sale,
get_sale_schedule or get_webhook.
"""
