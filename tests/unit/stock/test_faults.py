import asyncpg
import pytest

from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.ports import InDoubt, NotApplied, Rejected
from holdfast_inventory.postgres.faults import classify, keeps_connection

LOST = [
    ConnectionResetError("reset"),
    EOFError(),
    TimeoutError(),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CrashShutdownError("crash of another server process"),
    # A query goes on whose connection was terminated between two of its steps.
    AttributeError("'NoneType' object has no attribute 'bind_execute'", name="bind_execute", obj=None),
]


def told_by_server(kind, severity):
    error = kind("told")
    error.severity_en = severity
    return error


@pytest.mark.parametrize("error", LOST, ids=repr)
def test_a_lost_connection_proves_something_only_before_commit(error):
    assert isinstance(classify(error, committing=False), NotApplied)
    assert isinstance(classify(error, committing=True), InDoubt)
    assert not keeps_connection(error)


@pytest.mark.parametrize("kind", [asyncpg.SerializationError, asyncpg.DeadlockDetectedError])
def test_what_the_server_rolls_back_is_not_applied_even_in_commit(kind):
    error = told_by_server(kind, "ERROR")

    assert isinstance(classify(error, committing=True), NotApplied)
    assert keeps_connection(error)


@pytest.mark.parametrize(
    "kind",
    [
        asyncpg.LockNotAvailableError,
        asyncpg.QueryCanceledError,
        asyncpg.TooManyConnectionsError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.InvalidCachedStatementError,
    ],
)
def test_what_may_pass_is_worth_another_try(kind):
    assert isinstance(classify(told_by_server(kind, "ERROR"), committing=False), NotApplied)


@pytest.mark.parametrize("committing", [True, False])
def test_a_violated_constraint_is_rejected(committing):
    error = told_by_server(asyncpg.CheckViolationError, "ERROR")

    assert isinstance(classify(error, committing=committing), Rejected)
    assert keeps_connection(error)


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_a_backend_that_ends_proves_nothing_of_its_commit(severity):
    """A disk that fails under the write-ahead log panics with the commit perhaps on it."""
    error = told_by_server(asyncpg.PostgresIOError, severity)

    assert isinstance(classify(error, committing=True), InDoubt)
    assert isinstance(classify(error, committing=False), NotApplied)
    assert not keeps_connection(error)


@pytest.mark.parametrize("error", [asyncpg.ProtocolError("garbage"), RuntimeError("a fault of the driver")])
def test_an_answer_to_commit_that_cannot_be_understood_proves_nothing(error):
    assert isinstance(classify(error, committing=True), InDoubt)


def test_a_standby_where_the_primary_should_be_is_worth_another_try():
    assert isinstance(classify(asyncpg.TargetServerAttributeNotMatched("no primary"), committing=False), NotApplied)


@pytest.mark.parametrize("error", [NotFound("sales/x"), KeyError("x"), AttributeError("x", name="x", obj=None)])
def test_an_error_that_is_not_the_databases_is_nobodys_fault(error):
    assert classify(error, committing=False) is None


def test_a_fault_without_text_is_reported_by_its_name():
    assert str(classify(TimeoutError(), committing=False)) == "TimeoutError"
