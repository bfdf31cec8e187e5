"""What a database fault proves: that nothing was done, or nothing at all."""

import asyncpg


class Fault(Exception):
    """A transaction did not end with its COMMIT acknowledged."""


class NotApplied(Fault):
    """Nothing was done, and trying again can help."""


class InDoubt(Fault):
    """The connection was lost during COMMIT. Only executing again under the same identities tells."""


class Rejected(Fault):
    """The database refuses what it was given; nothing was done, and trying again is of no use."""


_RETRYABLE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
_CONNECTION = (
    OSError,
    EOFError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
_KEEPS_CONNECTION = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
)


def classify(error: BaseException, *, committing: bool) -> Fault | None:
    """What `error` proves of its transaction; none when it is not the database's.

    While committing, the server's own refusal proves that the transaction was rolled back, but a lost connection
    or a terminated backend proves nothing: it may be waiting for a standby with the commit already on disk.
    """
    if isinstance(error, _CONNECTION):
        return InDoubt(str(error)) if committing else NotApplied(str(error))
    if isinstance(error, _RETRYABLE):
        return NotApplied(str(error))
    if isinstance(error, asyncpg.PostgresError | asyncpg.InternalClientError):
        return Rejected(str(error))
    return None


def keeps_connection(error: BaseException) -> bool:
    """Whether the connection can be used again after a rollback."""
    return isinstance(error, _KEEPS_CONNECTION)
