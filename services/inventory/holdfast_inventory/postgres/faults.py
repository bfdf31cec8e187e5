"""Classifies database errors: the transaction had no effect, or its outcome is unknown."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from holdfast_chassis.lifecycle import CannotStartError
from holdfast_inventory.ports import InDoubt, NotApplied, Rejected, StoreFault

_RETRYABLE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidAuthorizationSpecificationError,
    # The session lost its prepared statements: a new connection prepares its own.
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
)
_CONNECTION = (
    OSError,
    EOFError,
    TimeoutError,
    asyncpg.InterfaceError,
    # asyncpg's error if it is used between the server's last message on a connection and the end of that connection.
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


class UnusableDatabaseError(CannotStartError):
    """The database refuses the service, until an operator changes something."""


_NO_SETTING = "the database refuses a setting in the options of DATABASE_URL"
_FINAL = (
    (asyncpg.InvalidPasswordError, "the database refuses the user or its password"),
    (asyncpg.InvalidAuthorizationSpecificationError, "the database refuses the user"),
    (asyncpg.InvalidCatalogNameError, "there is no such database"),
    (asyncpg.InsufficientPrivilegeError, "the user may not do this in the database"),
    (asyncpg.InvalidSchemaNameError, "the schema public does not exist, or the user may not use it"),
    (asyncpg.ClientConfigurationError, "DATABASE_URL cannot be used"),
    (asyncpg.UndefinedObjectError, _NO_SETTING),
    (asyncpg.InvalidParameterValueError, _NO_SETTING),
    (asyncpg.CantChangeRuntimeParamError, _NO_SETTING),
    (ssl.SSLCertVerificationError, "the certificate of the database is not the one that DATABASE_URL requires"),
)


@contextmanager
def explained() -> Iterator[None]:
    """Convert errors that waiting cannot fix to `UnusableDatabaseError`."""
    try:
        yield
    except Exception as error:
        for kind, reason in _FINAL:
            if isinstance(error, kind):
                raise UnusableDatabaseError(f"{reason}: {error}") from error
        raise


def classify(error: BaseException, *, committing: bool) -> StoreFault | None:
    """Return what `error` proves about its transaction; None if it is not an error of the database.

    During COMMIT, an error from the server proves that the transaction was rolled back. Any other error proves
    nothing: after a lost connection, a terminated backend or a panic the commit may already be on disk.
    """
    if isinstance(error, asyncpg.PostgresError) and not _is_cut_off(error):
        return NotApplied(str(error)) if isinstance(error, _RETRYABLE) else Rejected(str(error))
    if not isinstance(error, Exception):
        return None
    if committing:
        return InDoubt(_told(error))
    return NotApplied(_told(error)) if _is_cut_off(error) else None


def keeps_connection(error: BaseException) -> bool:
    """Return whether the connection can be used again after a rollback."""
    return isinstance(error, _KEEPS_CONNECTION) and not _is_fatal(error)


def is_taken(fault: StoreFault) -> bool:
    """Return whether the error is a unique violation."""
    return isinstance(fault.__cause__, asyncpg.UniqueViolationError)


def _is_cut_off(error: BaseException) -> bool:
    return isinstance(error, _CONNECTION) or _is_fatal(error) or _has_no_protocol(error)


def _has_no_protocol(error: BaseException) -> bool:
    # A terminated connection drops its protocol object, and a query may be between two of its steps at that moment.
    if not isinstance(error, AttributeError) or error.obj is not None or error.name is None:
        return False
    return hasattr(asyncpg.protocol.Protocol, error.name)


def _is_fatal(error: BaseException) -> bool:
    # Whatever the code, the backend ends: a full disk, a corrupt page, a timeout of the server.
    return getattr(error, "severity_en", None) in {"FATAL", "PANIC"}


def _told(error: BaseException) -> str:
    # A timeout has no message.
    return str(error) or type(error).__name__
