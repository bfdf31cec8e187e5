"""The replica that gets a sale's calls."""

import asyncio

import pytest

from holdfast_gateway.sale_affinity import HEADER, SaleAffinity
from tests.support.virtual_time import VirtualTimeLoop

FIRST, SECOND = ((HEADER, "drop-1"),), ((HEADER, "drop-1/second"),)


def pytest_asyncio_loop_factories(config, item):
    return {"virtual": VirtualTimeLoop}


async def test_a_sales_calls_go_by_its_id():
    affinity = SaleAffinity()
    assert affinity.metadata("sales/drop-1") == FIRST
    assert affinity.metadata("sales/drop-2") == ((HEADER, "drop-2"),)


@pytest.mark.parametrize(
    "name", ["", "sales/", "sales/-", "sales/é", "sales/a\nb", "sales/x/items/y", "saleSchedules/x"]
)
async def test_what_is_no_sales_name_goes_anywhere(name):
    assert SaleAffinity().metadata(name) == ()


async def test_a_sale_whose_replica_is_overloaded_goes_elsewhere_for_a_second():
    affinity = SaleAffinity()
    affinity.overloaded("sales/drop-1")
    assert affinity.metadata("sales/drop-1") == SECOND
    assert affinity.metadata("sales/drop-2") == ((HEADER, "drop-2"),)
    await asyncio.sleep(0.9)
    assert affinity.metadata("sales/drop-1") == SECOND
    await asyncio.sleep(0.2)
    assert affinity.metadata("sales/drop-1") == FIRST


async def test_a_sale_whose_second_choice_is_overloaded_as_well_comes_back():
    affinity = SaleAffinity()
    affinity.overloaded("sales/drop-1")
    affinity.overloaded("sales/drop-1")
    assert affinity.metadata("sales/drop-1") == FIRST


async def test_only_so_many_sales_are_remembered():
    affinity = SaleAffinity()
    for number in range(25_000):
        affinity.overloaded(f"sales/drop-{number}")
    assert len(affinity._second_until) <= 10_000
