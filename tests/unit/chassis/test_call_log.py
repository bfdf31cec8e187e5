"""Which calls are logged."""

from holdfast_chassis.call_log import CallLog


def quick(log, now):
    return log.wants(now, 0.01, failed=False)


def test_a_quiet_service_logs_every_call():
    log = CallLog(per_second=2, slow_seconds=1.0)
    assert [quick(log, now) for now in (5.0, 5.9, 6.1, 6.2, 7.0)] == [True] * 5


def test_so_many_calls_a_second_are_logged_and_no_more():
    log = CallLog(per_second=2, slow_seconds=1.0)
    assert [quick(log, now) for now in (5.0, 5.1, 5.2, 5.9, 6.0)] == [True, True, False, False, True]


def test_failures_and_slow_calls_are_always_logged():
    log = CallLog(per_second=0, slow_seconds=1.0)
    assert log.wants(5.0, 0.01, failed=True)
    assert log.wants(5.0, 1.0, failed=False)
    assert not log.wants(5.0, 0.99, failed=False)


def test_what_was_left_out_is_reported_once():
    log = CallLog(per_second=1, slow_seconds=1.0)
    assert [quick(log, 5.0) for _ in range(4)] == [True, False, False, False]
    assert (log.left_out(), log.left_out()) == (3, 0)
