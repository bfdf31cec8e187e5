"""Many customers leave no more behind than there may be."""

from holdfast_chassis.rates.gcra import Buckets, Rate
from holdfast_chassis.recent import RecentMap

CUSTOMERS = 300_000
MOST = 100_000


def test_more_customers_than_that_leave_a_hundred_thousand_buckets():
    buckets, rate = Buckets(MOST), Rate(100, 60_000_000)
    for number in range(CUSTOMERS):
        buckets.take(rate, f"c-{number}", number)
    assert len(buckets._full_at) <= MOST


def test_a_map_of_recent_values_has_at_most_twice_as_many():
    recent = RecentMap(1_000)
    for number in range(CUSTOMERS // 10):
        recent.set(number, number)
        assert len(recent) <= 2_000
    assert all(recent.get(number) == number for number in range(CUSTOMERS // 10 - 1_000, CUSTOMERS // 10))
