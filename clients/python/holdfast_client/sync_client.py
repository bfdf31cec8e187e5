"""The contract's methods. Written by scripts/python_client.py (`make generate`)."""

from google.protobuf.empty_pb2 import Empty

from holdfast.inventory.v1.customer_service_pb2 import (
    CustomerRecord,
    EraseCustomerRequest,
    EraseCustomerResponse,
    ExportCustomerRequest,
    ExportCustomerResponse,
)
from holdfast.inventory.v1.movement_pb2 import Movement
from holdfast.inventory.v1.report_pb2 import SaleReport
from holdfast.inventory.v1.reservation_service_pb2 import (
    ConfirmReservationRequest,
    CreateReservationRequest,
    ExtendReservationRequest,
    GetReservationRequest,
    ListReservationsRequest,
    ListReservationsResponse,
    ReleaseReservationRequest,
    Reservation,
    ReturnReservationRequest,
    SubmitRequest,
    SubmitResponse,
)
from holdfast.inventory.v1.sale_pb2 import Item, Sale, SaleSchedule
from holdfast.inventory.v1.sale_service_pb2 import (
    AdjustStockRequest,
    BatchCreateItemsRequest,
    BatchCreateItemsResponse,
    CancelSaleRequest,
    CreateItemRequest,
    CreateSaleRequest,
    CreateSaleScheduleRequest,
    DeleteSaleRequest,
    DeleteSaleScheduleRequest,
    GetItemRequest,
    GetSaleReportRequest,
    GetSaleRequest,
    GetSaleScheduleRequest,
    ListItemsRequest,
    ListItemsResponse,
    ListMovementsRequest,
    ListMovementsResponse,
    ListRefusalsRequest,
    ListRefusalsResponse,
    ListSaleChangesRequest,
    ListSaleChangesResponse,
    ListSaleScheduleChangesRequest,
    ListSaleScheduleChangesResponse,
    ListSaleSchedulesRequest,
    ListSaleSchedulesResponse,
    ListSalesRequest,
    ListSalesResponse,
    PauseSaleRequest,
    PauseSaleScheduleRequest,
    ResumeSaleRequest,
    ResumeSaleScheduleRequest,
    RunSaleScheduleRequest,
    SaleChange,
    TransferStockRequest,
    TransferStockResponse,
    UpdateItemRequest,
    UpdateSaleRequest,
    UpdateSaleScheduleRequest,
    VerifyLedgerRequest,
    VerifyLedgerResponse,
    WatchMovementsRequest,
    WatchMovementsResponse,
    WatchStockRequest,
    WatchStockResponse,
)
from holdfast.inventory.v1.webhook_service_pb2 import (
    CreateWebhookRequest,
    DeleteWebhookRequest,
    GetWebhookRequest,
    ListWebhookChangesRequest,
    ListWebhookChangesResponse,
    ListWebhookDeliveriesRequest,
    ListWebhookDeliveriesResponse,
    ListWebhooksRequest,
    ListWebhooksResponse,
    PauseWebhookRequest,
    RedeliverMovementsRequest,
    ResumeWebhookRequest,
    RotateWebhookSecretRequest,
    UpdateWebhookRequest,
    Webhook,
    WebhookDelivery,
)
from holdfast_client.sync_caller import Call, Caller, Pages, Watch


class Client(Caller):
    """A client that blocks; threads may share it. Each method raises Refusal or Unanswered."""

    create_reservation = Call(CreateReservationRequest, Reservation)
    """Holds stock for a customer: all lines or, unless partial is allowed, none. With a request_id it is executed
    once, even if it is sent several times, through different replicas or transports. A replay is answered with the
    reservation in its present state and the trailer `idempotent-replayed: true`.
    """

    get_reservation = Call(GetReservationRequest, Reservation)
    """Reads one reservation."""

    list_reservations = Pages(ListReservationsRequest, ListReservationsResponse, Reservation)
    """Lists reservations of a sale, or with `sales/-` of all sales, the newest first: by create_time. There are two
    exceptions without customer and order: with a time of the end they are ordered by end_time, and open holds
    (state HELD) by expire_time.
    """

    confirm_reservation = Call(ConfirmReservationRequest, Reservation)
    """Sells the units of a reservation. Confirming again with the same order is answered with the same reservation."""

    release_reservation = Call(ReleaseReservationRequest, Reservation)
    """Gives the units of a hold back; they are for sale again at once. Releasing again is answered with the same
    reservation.
    """

    extend_reservation = Call(ExtendReservationRequest, Reservation)
    """Moves a hold's end to a later time. A time that is not later has no effect."""

    return_reservation = Call(ReturnReservationRequest, Reservation)
    """Takes units of a confirmed reservation back, all or some. They are for sale again, or written off, and no
    longer count for the customer's limits. With a request_id it is executed once. A replay is answered with the
    reservation in its present state.
    """

    submit = Call(SubmitRequest, SubmitResponse)
    """Executes up to 1,000 independent commands for one sale. Each has its own outcome; a command that fails does not
    affect the others.
    """

    create_sale = Call(CreateSaleRequest, Sale)
    """Creates a sale, with its items and their first stock."""

    get_sale = Call(GetSaleRequest, Sale)
    """Reads one sale."""

    list_sales = Pages(ListSalesRequest, ListSalesResponse, Sale)
    """Lists sales, the newest first: by create_time, and by id where that is the same. A sale that is created between
    two pages is in neither.
    """

    update_sale = Call(UpdateSaleRequest, Sale)
    """Changes the rules of a sale."""

    pause_sale = Call(PauseSaleRequest, Sale)
    """Refuses new holds until the sale is resumed. Pausing again has no effect."""

    resume_sale = Call(ResumeSaleRequest, Sale)
    """Accepts new holds again. Resuming again has no effect."""

    cancel_sale = Call(CancelSaleRequest, Sale)
    """Ends a sale finally and releases its open holds. Cancelling again has no effect."""

    delete_sale = Call(DeleteSaleRequest, Empty)
    """Deletes a sale of which no unit was ever held, sold or transferred. Its id cannot be used again, and its
    changes stay. Any other sale is refused with SALE_IN_USE: cancel it instead.
    """

    list_sale_changes = Pages(ListSaleChangesRequest, ListSaleChangesResponse, SaleChange)
    """Lists the changes of a sale's rules, oldest first: who made them, when, and what they changed. Changes of stock
    are in its movements.
    """

    create_item = Call(CreateItemRequest, Item)
    """Adds an item to a sale."""

    batch_create_items = Call(BatchCreateItemsRequest, BatchCreateItemsResponse)
    """Adds items to a sale: all, or none. Over REST the body may also be CSV or JSON Lines, with one item in each
    row.
    """

    get_item = Call(GetItemRequest, Item)
    """Reads one stock level."""

    list_items = Pages(ListItemsRequest, ListItemsResponse, Item)
    """Lists a sale's stock levels by item."""

    update_item = Call(UpdateItemRequest, Item)
    """Changes an item's limit for each customer, and sets its on_hand, which never goes below held."""

    adjust_stock = Call(AdjustStockRequest, Item)
    """Changes on_hand by hand. It never goes below held."""

    transfer_stock = Call(TransferStockRequest, TransferStockResponse)
    """Moves available units from an item of one sale to an item of another, atomically."""

    watch_stock = Watch(WatchStockRequest, WatchStockResponse)
    """Follows a sale's stock: a snapshot, then every change in order, without gaps. After some minutes it ends with
    WATCH_EXPIRED; resume it at once with the last resume_token. Over REST it is a stream of server-sent events,
    which the gateway resumes by itself.
    """

    list_movements = Pages(ListMovementsRequest, ListMovementsResponse, Movement)
    """Lists a sale's movements in sequence."""

    watch_movements = Watch(WatchMovementsRequest, WatchMovementsResponse)
    """Follows a sale's movements from any sequence, without gaps. It ends like WatchStock. Over REST it is a stream
    of server-sent events, which the gateway resumes by itself.
    """

    verify_ledger = Call(VerifyLedgerRequest, VerifyLedgerResponse)
    """Checks that the movements sum up to the stock levels, that held equals the units of open reservations, and that
    no sequence is missing.
    """

    get_sale_report = Call(GetSaleReportRequest, SaleReport)
    """Reports how a sale went: what was reserved, sold, returned, released and expired, by item and over time, to how
    many customers, and how fast. It is exact: the sums of the movements up to its sequence. What was summed once
    is stored, and the next report continues there.
    """

    list_refusals = Call(ListRefusalsRequest, ListRefusalsResponse)
    """Lists why creates of a customer were refused in a sale, for support: one entry for each reason, the latest
    first. They are kept for HOLDFAST_CUSTOMER_REFUSAL_RETENTION_HOURS after the last one, appear within seconds,
    in a stampede within a minute, and are not complete: if very many customers are refused at once, some are left
    out.
    """

    create_sale_schedule = Call(CreateSaleScheduleRequest, SaleSchedule)
    """Creates a schedule, which opens sales by a period or by a calendar."""

    get_sale_schedule = Call(GetSaleScheduleRequest, SaleSchedule)
    """Reads one schedule."""

    list_sale_schedules = Pages(ListSaleSchedulesRequest, ListSaleSchedulesResponse, SaleSchedule)
    """Lists schedules by id."""

    update_sale_schedule = Call(UpdateSaleScheduleRequest, SaleSchedule)
    """Changes a schedule. The sales that it has created stay as they are."""

    pause_sale_schedule = Call(PauseSaleScheduleRequest, SaleSchedule)
    """Creates no sales until the schedule is resumed. The sales that it has created stay as they are. Pausing again
    has no effect.
    """

    resume_sale_schedule = Call(ResumeSaleScheduleRequest, SaleSchedule)
    """Creates sales again. A sale that should be open now opens at once. Resuming again has no effect."""

    run_sale_schedule = Call(RunSaleScheduleRequest, Sale)
    """Opens a sale now, out of turn, also while the schedule is paused. It closes like the others: after
    open_duration, and when the next one opens at the latest. Repeated with the same request_id, it returns the
    same sale.
    """

    delete_sale_schedule = Call(DeleteSaleScheduleRequest, Empty)
    """Deletes a schedule. The sales that it has created stay as they are."""

    list_sale_schedule_changes = Pages(ListSaleScheduleChangesRequest, ListSaleScheduleChangesResponse, SaleChange)
    """Lists who created, changed, paused, resumed, ran and deleted a schedule, when, and what it changed, oldest
    first. This is also possible after it was deleted.
    """

    create_webhook = Call(CreateWebhookRequest, Webhook)
    """Creates a webhook. It sends the movements that are made from now on. Only this answer and that of
    RotateWebhookSecret have the secret.
    """

    get_webhook = Call(GetWebhookRequest, Webhook)
    """Reads one webhook."""

    list_webhooks = Pages(ListWebhooksRequest, ListWebhooksResponse, Webhook)
    """Lists webhooks by id."""

    update_webhook = Call(UpdateWebhookRequest, Webhook)
    """Changes a webhook. Its position in each sale stays. A sale that it did not follow before begins with the
    movements since the webhook was created.
    """

    delete_webhook = Call(DeleteWebhookRequest, Empty)
    """Deletes a webhook, and its positions."""

    pause_webhook = Call(PauseWebhookRequest, Webhook)
    """Sends nothing until the webhook is resumed; a message that is being sent ends. Pausing again has no effect."""

    resume_webhook = Call(ResumeWebhookRequest, Webhook)
    """Sends again, beginning with the first movement that was not delivered. Messages that wait for a retry are tried
    at once. Parked deliveries stay parked.
    """

    rotate_webhook_secret = Call(RotateWebhookSecretRequest, Webhook)
    """Replaces the secret, and returns the new one. Until the old one expires, messages have a signature of each, and
    rotating again replaces the new one.
    """

    list_webhook_deliveries = Pages(ListWebhookDeliveriesRequest, ListWebhookDeliveriesResponse, WebhookDelivery)
    """Lists how far each sale's movements have been delivered to a webhook, by sale. A sale is listed from its first
    movement on.
    """

    list_webhook_changes = Pages(ListWebhookChangesRequest, ListWebhookChangesResponse, SaleChange)
    """Lists who created, changed, paused, resumed and deleted a webhook, and when, oldest first. This is also
    possible after it was deleted. A rotation of the secret is an UPDATE of the field `secret`, without its values.
    """

    redeliver_movements = Call(RedeliverMovementsRequest, WebhookDelivery)
    """Sends a sale's movements at once, after they were parked, or again from an earlier one, or without those that
    the receiver cannot process.
    """

    export_customer = Pages(ExportCustomerRequest, ExportCustomerResponse, CustomerRecord)
    """Exports what is stored about a customer, in pages: the latest refusals, then the reservations of all sales, the
    newest first.
    """

    erase_customer = Call(EraseCustomerRequest, EraseCustomerResponse)
    """Replaces a customer's name by a pseudonym in all reservations and actors, and deletes its refusals. Stock, sums
    and sequences stay as they are. Open holds stay, too, and can be ended by callers that name no customer. Limits
    do not count what was erased, and a request that is repeated after its reservation was erased is refused as
    REQUEST_ID_REUSED. Erasing again has no effect.

    A customer with very many reservations is erased in the background: `done` is false until then. Backups and
    logs are not changed.
    """
