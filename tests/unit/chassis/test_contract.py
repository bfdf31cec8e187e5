"""The contract is complete and consistent."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from holdfast.inventory.v1 import (
    movement_pb2,
    refusal_pb2,
    report_pb2,
    reservation_service_pb2,
    sale_pb2,
    sale_service_pb2,
    webhook_service_pb2,
)
from holdfast_chassis.contract import METHODS, REASONS, SERVICES, Kind, method_of

FILES = (
    movement_pb2,
    refusal_pb2,
    report_pb2,
    reservation_service_pb2,
    sale_pb2,
    sale_service_pb2,
    webhook_service_pb2,
)
DESCRIPTORS = [descriptor for service in SERVICES for descriptor in service.methods]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_changes_nothing_is_what_get_is_for(method):
    """Browsers, proxies and the edge repeat a GET by themselves."""
    assert method.kind.changes_nothing == all(binding.http_method == "get" for binding in method.bindings)


@pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=lambda descriptor: descriptor.name)
def test_a_watch_is_what_streams(descriptor):
    assert (method_of(descriptor).kind is Kind.WATCH) == descriptor.server_streaming


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_changes_nothing_can_be_repeated(method):
    assert method.repeatable or not method.kind.changes_nothing


@pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=lambda descriptor: descriptor.name)
def test_what_takes_a_request_id_can_be_repeated(descriptor):
    assert method_of(descriptor).repeatable or "request_id" not in descriptor.input_type.fields_by_name


def test_a_method_without_options_is_refused():
    file = descriptor_pb2.FileDescriptorProto(name="bare.proto", package="bare")
    file.message_type.add(name="Empty")
    file.service.add(name="Bare").method.add(name="Ask", input_type=".bare.Empty", output_type=".bare.Empty")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    with pytest.raises(ValueError, match=r"bare\.Bare\.Ask: the contract does not say"):
        method_of(pool.FindMethodByName("bare.Bare.Ask"))


@pytest.mark.parametrize("reason", REASONS.values(), ids=lambda reason: reason.name)
def test_every_reason_has_its_code_status_and_title(reason):
    assert reason.code > 0
    assert 400 <= reason.http_status <= 599
    assert reason.title


def test_a_shortage_is_not_what_clients_and_proxies_retry_by_themselves():
    resource_exhausted = 8
    assert REASONS["INSUFFICIENT_STOCK"].code != resource_exhausted


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.DESCRIPTOR.name)
def test_no_value_of_an_enum_occupies_the_package(file):
    """Values have no prefix, because JSON shows them. So every enum is inside a message, which scopes its names."""
    assert not file.DESCRIPTOR.enum_types_by_name


def test_a_method_is_refused_for_reasons_that_there_are_and_that_hang_on_the_state_of_things():
    for method in METHODS:
        # A sale may demand that its customers are admitted, and the shop changes that.
        named = set(method.refusals) - {"ADMISSION_REQUIRED"}
        assert {REASONS[name].http_status for name in named} <= {409, 422}, method.name
