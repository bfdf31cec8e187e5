"""What a database fault proves: that nothing was done, or nothing at all."""

import asyncpg

from holdfast_inventory.ports import InDoubt, NotApplied, Rejected, StoreFault

_RETRYABLE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidAuthorizationSpecificationError,
)
_CONNECTION = (
    OSError,
    EOFError,
    TimeoutError,
    asyncpg.InterfaceError,
    # What asyncpg says when it is used between the server's last word on a connection and the end of that connection.
    asyncpg.InternalClientError,
    asyncpg.TargetServerAttributeNotMatched,
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


def classify(error: BaseException, *, committing: bool) -> StoreFault | None:
    """What `error` proves of its transaction; none when it is not the database's.

    While committing, the server's own refusal proves that the transaction was rolled back. Anything else proves
    nothing: after a lost connection, a terminated backend or a panic the commit may be on disk already.
    """
    if isinstance(error, asyncpg.PostgresError) and not _is_cut_off(error):
        return NotApplied(str(error)) if isinstance(error, _RETRYABLE) else Rejected(str(error))
    if not isinstance(error, Exception):
        return None
    if committing:
        return InDoubt(_told(error))
    return NotApplied(_told(error)) if _is_cut_off(error) else None


def keeps_connection(error: BaseException) -> bool:
    """Whether the connection can be used again after a rollback."""
    return isinstance(error, _KEEPS_CONNECTION) and not _is_fatal(error)


def _is_cut_off(error: BaseException) -> bool:
    return isinstance(error, _CONNECTION) or _is_fatal(error) or _has_no_protocol(error)


def _has_no_protocol(error: BaseException) -> bool:
    # A connection that we terminate lets go of its protocol, and a query may be between two of its steps just then.
    if not isinstance(error, AttributeError) or error.obj is not None or error.name is None:
        return False
    return hasattr(asyncpg.protocol.Protocol, error.name)


def _is_fatal(error: BaseException) -> bool:
    # Whatever its code, the backend ends with it: a full disk, a corrupt page, a timeout of the server's own.
    return getattr(error, "severity_en", None) in {"FATAL", "PANIC"}


def _told(error: BaseException) -> str:
    # A timeout has no text of its own.
    return str(error) or type(error).__name__
