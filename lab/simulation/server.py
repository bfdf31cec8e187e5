"""A model of a PostgreSQL server: backends, row locks, a write-ahead log, a standby, and its own clock.

It guarantees what PostgreSQL does, and no more. Each statement reads what is committed when it runs, and its
transaction's own writes. Waits for row locks are in order, and end after `lock_timeout`. A COMMIT is durable before it
is visible, and visible before it is acknowledged; with a standby it is durable on both before it is visible. A backend
learns late, or never, that its client has disconnected, and executes what it was sent until then.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import asyncpg

from lab.simulation.loop import BEGINNING, BEGINNING_SECONDS, VirtualTimeLoop, context_of
from lab.simulation.statements import EXCLUSIVE, LOCKS_WITHOUT_WAITING, SHARED, STATEMENTS, WRITES, lock_of
from lab.simulation.tables import Tables, View, Writes
from lab.simulation.trace import Trace

LOCK_TIMEOUT_SECONDS = 0.5
IDLE_IN_TRANSACTION_SECONDS = 5.0
_MICROSECOND = 1e-6


def fatal(kind, text):
    """Return an error that ends the backend."""
    error = kind(text)
    error.severity_en = "FATAL"
    return error


@dataclass
class Commit:
    """A transaction in the log. `seen_at`: when it became visible; None: not yet."""

    lsn: int
    writes: Writes
    durable_at: float
    seen_at: float | None = None
    undo: Writes = field(default_factory=dict)


class Lock:
    __slots__ = ("holders", "waiting")

    def __init__(self):
        self.holders = {}
        self.waiting = deque()

    def admits(self, backend, mode):
        others = [held for holder, held in self.holders.items() if holder is not backend]
        return not others or (mode == SHARED and set(others) == {SHARED})


class Server:
    def __init__(self, loop: VirtualTimeLoop, trace: Trace, injector: Any) -> None:
        self.loop = loop
        self.trace = trace
        self.injector = injector
        self.tables = Tables()
        self.log: list[Commit] = []
        self.replicated = 0
        self.lost = 0
        self.skew_seconds = 0.0
        self.statements = defaultdict(int)
        self._context = context_of(None)
        self._locks = defaultdict(Lock)
        self._backends = {}
        self._numbers = 0
        self._lsn = 0
        self._unacknowledged = deque()
        self._last_replication = 0.0
        self._last_turn = 0.0

    # Time

    def now(self) -> datetime:
        return self.at(self.loop.time())

    def at(self, loop_time: float) -> datetime:
        return BEGINNING + timedelta(seconds=loop_time - BEGINNING_SECONDS + self.skew_seconds)

    def after(self, seconds, callback, *arguments):
        """Start a timer of the server, which continues if the client that caused it is dead."""
        return self.loop.call_at(self.loop.time() + seconds, callback, *arguments, context=self._context)

    def at_its_own_time(self, callback):
        """Call `callback` in a microsecond in which no other statement reads the clock.

        On a real server two statements almost never read the same time; in virtual time many things happen at once.
        """
        now = self.loop.time()
        self._last_turn = max(now, self._last_turn + 2 * _MICROSECOND)
        if self._last_turn == now:
            callback()
        else:
            self.after(self._last_turn - now, callback)

    # Backends

    def new_backend(self, client):
        self._numbers += 1
        backend = Backend(self, self._numbers, client)
        self._backends[backend.number] = backend
        return backend

    def forget(self, backend):
        self._backends.pop(backend.number, None)

    @property
    def busy(self):
        """Return the backends in a transaction."""
        return [backend for backend in self._backends.values() if backend.view is not None]

    # Locks

    def lock(self, backend, key, mode, then):
        """Call `then` with None when the row is locked, or with an error."""
        lock = self._locks[key]
        held = lock.holders.get(backend)
        if held in (mode, EXCLUSIVE):
            then(None)
        elif lock.admits(backend, mode) and not lock.waiting:
            self._grant(lock, backend, key, mode, then)
        else:
            entry = (backend, key, mode, then)
            lock.waiting.append(entry)
            self.trace.note(f"b{backend.number} waits for {key[1]}")
            backend.waits_for = self.after(LOCK_TIMEOUT_SECONDS, self._give_up, lock, entry), lock, entry

    def _grant(self, lock, backend, key, mode, then):
        lock.holders[backend] = mode
        backend.locks[key] = lock
        then(None)

    def _give_up(self, lock, entry):
        lock.waiting.remove(entry)
        backend, *_, then = entry
        backend.waits_for = None
        self._next(lock)
        then(asyncpg.LockNotAvailableError("canceling statement due to lock timeout"))

    def release(self, backend):
        if backend.waits_for is not None:
            timer, lock, entry = backend.waits_for
            timer.cancel()
            lock.waiting.remove(entry)
            backend.waits_for = None
            self._next(lock)
        locks, backend.locks = backend.locks, {}
        for lock in locks.values():
            lock.holders.pop(backend, None)
        for lock in locks.values():
            self._next(lock)

    def _next(self, lock):
        while lock.waiting:
            backend, key, mode, then = lock.waiting[0]
            if not lock.admits(backend, mode):
                return
            lock.waiting.popleft()
            backend.waits_for[0].cancel()
            backend.waits_for = None
            self._grant(lock, backend, key, mode, then)

    # Commits

    def make_durable(self, backend, then):
        """Write a commit to the log, and call `then` when it is visible."""
        self._lsn += 1
        commit = Commit(self._lsn, backend.view.writes, self.loop.time())
        self.log.append(commit)
        self.trace.note(f"b{backend.number} durable {commit.lsn}")
        if not self.injector.has_standby:
            self.replicated = commit.lsn
            self._show(commit)
            then()
            return
        self._unacknowledged.append((commit, then))
        self._last_replication = max(self._last_replication, self.loop.time() + self.injector.replication_seconds())
        self.after(self._last_replication - self.loop.time(), self._replicate, commit)

    def _replicate(self, commit):
        if commit.lsn <= self.replicated or commit not in self.log:
            return
        if self.injector.standby_is_stalled:
            self.after(0.05, self._replicate, commit)
            return
        self.replicated = commit.lsn
        self.trace.note(f"replicated {commit.lsn}")
        while self._unacknowledged and self._unacknowledged[0][0].lsn <= commit.lsn:
            waiting, then = self._unacknowledged.popleft()
            self._show(waiting)
            then()

    def _show(self, commit):
        if commit.seen_at is None:
            commit.seen_at = self.loop.time()
            commit.undo = self.tables.apply(commit.writes)

    def show_unreplicated(self, backend):
        """Close connections that wait for the standby: their commits are visible, though only this server has them."""
        for place, (commit, then) in enumerate(self._unacknowledged):
            if getattr(then, "__self__", None) is backend:
                del self._unacknowledged[place]
                self._show(commit)
                return True
        return False

    def stop_waiting_for_standby(self):
        """Acknowledge waiting commits with a warning, as if the setting was changed or the statement cancelled."""
        waiting, self._unacknowledged = self._unacknowledged, deque()
        for commit, then in waiting:
            self._show(commit)
            then(warning="canceling wait for synchronous replication due to user request")

    # Faults of the server

    def restart(self, *, tells):
        """Crash: every backend ends, and only durable commits remain. `tells`: whether the clients are notified."""
        self.trace.note("the server restarts")
        for commit, _ in self._unacknowledged:
            self._show(commit)
        self._unacknowledged.clear()
        self._end_all(tells=tells)
        self.injector.refuse_connections()

    def fail_over(self, skew_seconds):
        """Promote the standby, with the commits that it has."""
        lost = [commit for commit in self.log if commit.lsn > self.replicated]
        self.trace.note(f"failover to {self.replicated}, {len(lost)} lost")
        self.lost += len(lost)
        self._unacknowledged.clear()
        for commit in reversed(lost):
            if commit.seen_at is not None:
                self.tables.apply(commit.undo)
        self.log = [commit for commit in self.log if commit.lsn <= self.replicated]
        for commit in self.log:
            self._show(commit)
        self._end_all(tells=False)
        self.skew_seconds += skew_seconds
        self.injector.refuse_connections()

    def end_some_backend(self, choose):
        """Terminate a backend, as an administrator does."""
        alive = list(self._backends.values())
        if alive:
            choose(alive).terminated()

    def _end_all(self, *, tells):
        for backend in list(self._backends.values()):
            backend.die(asyncpg.AdminShutdownError("terminating connection due to administrator command"), tells=tells)


class Backend:
    """Executes the statements of a client, one after the other."""

    def __init__(self, server, number, client):
        self.server = server
        self.number = number
        self.client = client
        self.view = None
        self.failed = False
        self.locks = {}
        self.waits_for = None
        self.ended = False
        self._running = None
        self._inbox = deque()
        self._idle_timer = None
        self._has_id = False
        self._rows = ()

    def receive(self, message):
        """Receive a statement (a `Sent`), or None if the client has disconnected."""
        if self.ended:
            return
        if self._running is not None:
            self._inbox.append(message)
        elif message is None:
            self.die(None, tells=False)
        else:
            self._run(message)

    def _run(self, sent):
        self._running = sent
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        server = self.server
        server.statements[sent.name] += 1
        error = sent.fault or self._refusal(sent)
        if error is not None:
            self._fail(error)
            return
        control = _CONTROL.get(sent.name)
        if control is not None:
            control(self)
            return
        lock = lock_of(sent.name, sent.arguments)
        self._has_id |= sent.name in LOCKS_WITHOUT_WAITING
        if lock is None:
            self._evaluate(None)
        else:
            self._has_id = True
            server.lock(self, *lock, self._evaluate)

    def _refusal(self, sent):
        if self.failed and sent.name != "rollback":
            return asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        if self.server.injector.is_read_only and sent.name in WRITES:
            return asyncpg.ReadOnlySQLTransactionError("cannot execute it in a read-only transaction")
        return None

    def _evaluate(self, error):
        if error is None:
            self.server.at_its_own_time(self._execute)
        else:
            self._fail(error)

    def _execute(self):
        if self.ended:
            return
        sent = self._running
        view = self.view or View(self.server.tables)
        try:
            rows = STATEMENTS[sent.name](view, self.server.now(), *sent.arguments)
        except asyncpg.PostgresError as refusal:
            self._fail(refusal)
            return
        if self.view is None and view.writes:
            # A transaction of one statement.
            self.view, self._rows = view, rows
            self._commit()
            return
        if self.view is None:
            self._end_transaction()
        self._done(rows)

    def _tell_number(self):
        self._done([{"session": self.number}])

    def _begin(self):
        self.view = View(self.server.tables)
        self._done(())

    def _begin_locking(self):
        """Execute a string of statements: BEGIN, and the locks of sales."""
        self.view, self._has_id = View(self.server.tables), True
        self._lock_all(deque(self._running.arguments), None)

    def _lock_all(self, sale_ids, error):
        if error is not None:
            self._fail(error)
        elif sale_ids:
            key = ("sales", sale_ids.popleft())
            self.server.lock(self, key, EXCLUSIVE, partial(self._lock_all, sale_ids))
        else:
            self._done(())

    def _rollback(self):
        self._end_transaction()
        self._done(())

    def _commit(self):
        if not self._has_id:
            # It has changed and locked nothing, so it need not wait.
            self._rollback()
        else:
            self.server.after(self.server.injector.disk_seconds(), self._write)

    def _write(self):
        if not self.ended:
            self.server.make_durable(self, self._committed)

    def _committed(self, warning=None):
        self.server.trace.note(f"b{self.number} committed{', with a warning' if warning else ''}")
        self._running.warning = warning
        rows, self._rows = self._rows, ()
        self._end_transaction()
        self._done(rows)

    def _end_transaction(self):
        self.view, self.failed, self._has_id = None, False, False
        self.server.release(self)

    def _fail(self, error):
        if getattr(error, "severity_en", None) == "FATAL":
            self.die(error, tells=True)
            return
        if self._running.name == "commit" or self.view is None:
            self._end_transaction()
        self.failed = self.view is not None
        self._done(error)

    def _done(self, outcome):
        sent, self._running = self._running, None
        self.server.injector.reply(self.server, sent, outcome)
        if self.view is not None:
            self._idle_timer = self.server.after(IDLE_IN_TRANSACTION_SECONDS, self._idle_too_long)
        if self._inbox:
            self.receive(self._inbox.popleft())

    def _idle_too_long(self):
        self._idle_timer = None
        if self._running is None and not self.ended:
            error = fatal(asyncpg.IdleInTransactionSessionTimeoutError, "idle-in-transaction timeout")
            self.die(error, tells=True)

    def terminated(self):
        self.server.trace.note(f"b{self.number} is terminated")
        self.server.show_unreplicated(self)
        self.die(fatal(asyncpg.AdminShutdownError, "terminating connection due to administrator command"), tells=True)

    def die(self, error, *, tells):
        """End, and undo what is not durable."""
        if self.ended:
            return
        self.ended = True
        sent, self._running = self._running, None
        self._inbox.clear()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._end_transaction()
        self.server.forget(self)
        if tells:
            self.server.injector.farewell(self.server, self.client, sent, error)


_CONTROL = {
    "begin": Backend._begin,
    "begin_locking": Backend._begin_locking,
    "rollback": Backend._rollback,
    "commit": Backend._commit,
    "session": Backend._tell_number,
}
