"""The product's log during a simulation."""

import logging
from contextlib import contextmanager

import structlog


@contextmanager
def remarked_in(trace):
    """Write the product's log to the trace, as remarks."""

    def remark(_logger, level, event):
        trace.remark(f"{level}: {event.pop('event')} {event}")
        raise structlog.DropEvent

    with _configured(logging.INFO, [remark]):
        yield


@contextmanager
def silent():
    """Discard the product's log, which would take longer than everything else."""
    with _configured(logging.CRITICAL, []):
        yield


@contextmanager
def _configured(level, processors):
    before = structlog.get_config()
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
