"""Who may call what: the table of the documentation, and what a request becomes in a principal's hands."""

import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast_chassis.contract import METHODS, SERVICES
from holdfast_chassis.identity.guard import Guard
from holdfast_chassis.identity.principal import ANONYMOUS, OWN, Principal
from holdfast_chassis.identity.refusals import PermissionDenied, Unauthenticated

DESCRIPTORS = {method.name: method for service in SERVICES for method in service.methods}
BUYER = Principal("customers/c-1", frozenset({OWN}), "c-1")
BACKEND = Principal("keys/shop", frozenset({"reservations.write", "stock.write"}))

WITH_A_RESERVATION = {
    "CreateReservation",
    "GetReservation",
    "ListReservations",
    "ConfirmReservation",
    "ReleaseReservation",
    "ExtendReservation",
    "WatchStock",
}
ALLOWED = {
    "reservations.own": WITH_A_RESERVATION,
    "reservations.write": WITH_A_RESERVATION | {"Submit", "ReturnReservation", "ListRefusals", "ExportCustomer"},
    "stock.read": {"GetItem", "ListItems", "ListMovements", "WatchMovements", "VerifyLedger", "WatchStock"},
    "stock.write": {"AdjustStock", "TransferStock"},
    "sales.read": {
        "GetSale",
        "ListSales",
        "ListSaleChanges",
        "GetSaleReport",
        "GetSaleSchedule",
        "ListSaleSchedules",
        "ListSaleScheduleChanges",
    },
    "sales.write": {
        "CreateSale",
        "UpdateSale",
        "PauseSale",
        "ResumeSale",
        "CancelSale",
        "DeleteSale",
        "CreateItem",
        "BatchCreateItems",
        "UpdateItem",
        "CreateSaleSchedule",
        "UpdateSaleSchedule",
        "PauseSaleSchedule",
        "ResumeSaleSchedule",
        "RunSaleSchedule",
        "DeleteSaleSchedule",
    },
    "webhooks.read": {"GetWebhook", "ListWebhooks", "ListWebhookDeliveries", "ListWebhookChanges"},
    "customers.erase": {"EraseCustomer"},
    "webhooks.write": {
        "CreateWebhook",
        "UpdateWebhook",
        "DeleteWebhook",
        "PauseWebhook",
        "ResumeWebhook",
        "RotateWebhookSecret",
        "RedeliverMovements",
    },
}


def admits(name, principal):
    try:
        Guard(DESCRIPTORS[name]).admit(principal)
    except PermissionDenied:
        return False
    return True


@pytest.mark.parametrize("scope", ALLOWED)
def test_a_scope_allows_these_methods_and_no_others(scope):
    principal = Principal("keys/k", frozenset({scope}))
    assert {name for name in DESCRIPTORS if admits(name, principal)} == ALLOWED[scope]


def test_every_scope_of_the_contract_is_in_the_table():
    assert {scope for method in METHODS for scope in method.scopes} == ALLOWED.keys()


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_nobody_gets_in_without_a_credential(name):
    with pytest.raises(Unauthenticated) as refused:
        Guard(DESCRIPTORS[name]).admit(ANONYMOUS)
    assert refused.value.error == ""


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_refusal_names_what_is_missing(method):
    with pytest.raises(PermissionDenied) as refused:
        Guard(DESCRIPTORS[method.name]).admit(Principal("keys/k", frozenset({"other"})))
    assert refused.value.scope.split(" ") == list(method.scopes)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_a_buyer_may_call_is_for_a_customer_or_tells_of_none(method):
    """A method that a buyer may call and that took no customer would show it what is another's."""
    fields = DESCRIPTORS[method.name].input_type.fields_by_name
    assert OWN not in method.scopes or "customer" in fields or method.name == "WatchStock"


@pytest.mark.parametrize("name", sorted(ALLOWED[OWN] - {"WatchStock"}))
def test_a_buyers_request_is_for_the_customer_of_the_token(name):
    guard, message = Guard(DESCRIPTORS[name]), DESCRIPTORS[name].input_type._concrete_class
    for given in ("", "c-1"):
        request = message(customer=given)
        guard.claim(BUYER, request)
        assert request.customer == "c-1"
    with pytest.raises(PermissionDenied) as refused:
        guard.claim(BUYER, message(customer="c-2"))
    assert refused.value.scope == "reservations.write"


def test_a_backends_request_is_for_whom_it_says():
    for given in ("", "c-2"):
        request = rs.GetReservationRequest(customer=given)
        Guard(DESCRIPTORS["GetReservation"]).claim(BACKEND, request)
        assert request.customer == given


def test_a_caller_with_both_scopes_may_act_for_anybody():
    both = Principal("clients/c-1", frozenset({OWN, "reservations.write"}), "c-1")
    request = rs.GetReservationRequest(customer="c-2")
    Guard(DESCRIPTORS["GetReservation"]).claim(both, request)
    assert request.customer == "c-2"


@pytest.mark.parametrize(("name", "message"), [("AdjustStock", ss.AdjustStockRequest), ("TransferStock", None)])
def test_an_actor_is_the_caller_and_nobody_else(name, message):
    guard, message = Guard(DESCRIPTORS[name]), message or ss.TransferStockRequest
    for given in ("", "keys/shop"):
        request = message(actor=given)
        guard.claim(BACKEND, request)
        assert request.actor == "keys/shop"
    with pytest.raises(PermissionDenied) as refused:
        guard.claim(BACKEND, message(actor="warehouse"))
    assert refused.value.scope == ""
