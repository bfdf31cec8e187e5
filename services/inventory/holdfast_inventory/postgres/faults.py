"""What a database fault proves: that nothing was done, or nothing at all."""

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
    # Somebody has taken prepared statements away: a new connection has its own.
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
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


class UnusableDatabaseError(CannotStartError):
    """The database refuses us, and will as long as nobody changes that."""


_NO_SETTING = "a setting among the options in DATABASE_URL cannot be had"
_FINAL = (
    (asyncpg.InvalidPasswordError, "the database refuses the user or its password"),
    (asyncpg.InvalidAuthorizationSpecificationError, "the database refuses the user"),
    (asyncpg.InvalidCatalogNameError, "there is no such database"),
    (asyncpg.InsufficientPrivilegeError, "the user may not do this in the database"),
    (asyncpg.InvalidSchemaNameError, "the schema public is not there, or the user may not look into it"),
    (asyncpg.ClientConfigurationError, "DATABASE_URL cannot be used"),
    (asyncpg.UndefinedObjectError, _NO_SETTING),
    (asyncpg.InvalidParameterValueError, _NO_SETTING),
    (asyncpg.CantChangeRuntimeParamError, _NO_SETTING),
    (ssl.SSLCertVerificationError, "the certificate of the database is not what DATABASE_URL asks for"),
)


@contextmanager
def explained() -> Iterator[None]:
    """Turns what waiting cannot mend into `UnusableDatabaseError`."""
    try:
        yield
    except Exception as error:
        for kind, reason in _FINAL:
            if isinstance(error, kind):
                raise UnusableDatabaseError(f"{reason}: {error}") from error
        raise


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


def is_taken(fault: StoreFault) -> bool:
    """Whether a key was to be stored that is stored already."""
    return isinstance(fault.__cause__, asyncpg.UniqueViolationError)


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
