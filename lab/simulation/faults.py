"""Faults between a client and its server: drawn from the seed, and over at a known time."""

from dataclasses import dataclass

import asyncpg

from lab.simulation.server import fatal

# The faults of a statement. Each seed has some of them, each with its own rate.
FATES = (
    "cut",  # the connection breaks before the statement arrives
    "answer lost",  # it is executed, and then the connection breaks
    "last word",  # it is executed, and the server closes the connection instead of answering
    "hole there",  # it is lost without an error
    "hole back",  # it is executed, and the answer is lost
    "late",  # it arrives late, even if its client has disconnected
    "slow answer",  # it is executed, and the answer is late
    "serialization",  # refused: try again
    "deadlock",
    "no room",
    "ended",  # the backend is terminated before it runs
)
_REFUSALS = {
    "serialization": asyncpg.SerializationError,
    "deadlock": asyncpg.DeadlockDetectedError,
    "no room": asyncpg.OutOfMemoryError,
}
REFUSING = ("refused", "starting up", "silent", "full")
_COMMIT_IS_HIT_MORE = 4


@dataclass(slots=True)
class Sent:
    """A statement on its way."""

    name: str
    arguments: tuple
    client: object
    answer: object
    fault: Exception | None = None
    fate: str | None = None
    warning: str | None = None


@dataclass(frozen=True)
class Conditions:
    """The faults of one seed. `latency`: typical seconds from client to server; rates are shares of statements."""

    latency: float = 0.001
    rates: tuple = ()
    has_standby: bool = False
    replication: float = 0.002


HEALTHY = Conditions()


class FaultInjector:
    """Injects faults. `heal` ends all of them, so that the recovery can be judged."""

    def __init__(self, loop, trace, random, conditions=HEALTHY):
        self._loop = loop
        self._trace = trace
        self._random = random
        self._refuses_until = 0.0
        self._refuses_by = "refused"
        self._reads_only_until = 0.0
        self._standby_stalls_until = 0.0
        self.has_standby = conditions.has_standby
        self.seen = set()
        self.change(conditions)

    def change(self, conditions):
        self._climate = conditions
        self._sum = sum(rate for _, rate in conditions.rates)

    def heal(self):
        self.change(HEALTHY)
        self._refuses_until = self._reads_only_until = self._standby_stalls_until = 0.0

    # Planned faults

    def refuse_connections(self, seconds=None, by=None):
        seconds = self._random.choice((0.05, 0.3, 1.0, 2.5)) if seconds is None else seconds
        self._refuses_by = by or self._random.choice(REFUSING)
        self._refuses_until = max(self._refuses_until, self._loop.time() + seconds)

    def read_only(self, seconds):
        self._reads_only_until = self._loop.time() + seconds

    def stall_standby(self, seconds):
        self._standby_stalls_until = self._loop.time() + seconds

    @property
    def is_read_only(self):
        return self._loop.time() < self._reads_only_until

    @property
    def standby_is_stalled(self):
        return self._loop.time() < self._standby_stalls_until

    # Delays

    def latency(self):
        return self._climate.latency * (0.5 + self._random.random())

    def disk_seconds(self):
        return self._climate.latency * self._random.random()

    def replication_seconds(self):
        return self._climate.replication * self._random.random() * 2

    # Connections

    def refusal(self):
        """Return the reason why a new connection is refused, or None; "silent" means that there is no answer."""
        if self._loop.time() >= self._refuses_until:
            return None
        return {
            "refused": ConnectionRefusedError("connection refused"),
            "starting up": asyncpg.CannotConnectNowError("the database system is starting up"),
            "full": fatal(asyncpg.TooManyConnectionsError, "sorry, too many clients already"),
            "silent": TimeoutError(),
        }[self._refuses_by]

    def send(self, server, sent):
        """Send a statement to its backend, or inject a fault."""
        delay = self.latency()
        fate = sent.fate = self._fate(sent) if self._sum else None
        client = sent.client
        if fate is not None:
            self.seen.add(fate)
            self._trace.note(f"c{client.number} {sent.name}: {fate}")
            if fate == "cut":
                server.after(delay, client.broken, ConnectionResetError("connection reset by peer"))
                return
            if fate == "hole there":
                client.is_severed = True
                return
            if fate == "late":
                delay += 12.0 * self._random.random() ** 2
            elif fate == "ended":
                sent.fault = fatal(asyncpg.AdminShutdownError, "terminating connection due to administrator command")
            elif fate in _REFUSALS:
                sent.fault = _REFUSALS[fate](fate)
        self._arrive(server, client, delay, sent)

    def _fate(self, sent):
        draw = self._random.random()
        if sent.name == "commit" or (sent.name == "append" and sent.client.backend.view is None):
            draw /= _COMMIT_IS_HIT_MORE
        if draw >= self._sum:
            return None
        for fate, rate in self._climate.rates:
            draw -= rate
            if draw < 0:
                return fate
        return None

    def leave(self, server, client):
        """Report to the backend that its client has disconnected: soon, late or never."""
        if client.is_severed and self._random.random() < 0.5:
            return
        self._arrive(server, client, self.latency(), None)

    def _arrive(self, server, client, delay, message):
        # In order, as on any connection.
        client.arrives_at = max(client.arrives_at, self._loop.time() + delay)
        server.after(client.arrives_at - self._loop.time(), self._arrived, client, message)

    def _arrived(self, client, message):
        backend = client.backend
        if backend.ended and message is not None and not client.is_severed:
            client.broken(ConnectionResetError("connection reset by peer"))
        else:
            backend.receive(message)

    def reply(self, server, sent, outcome):
        """Return an answer to the client, or inject a fault."""
        client = sent.client
        match sent.fate:
            case "hole back":
                client.is_severed = True
            case "answer lost":
                server.after(self.latency(), client.broken, ConnectionResetError("connection reset by peer"))
            case "last word":
                error = fatal(asyncpg.AdminShutdownError, "terminating connection due to administrator command")
                server.after(self.latency(), client.broken, error)
            case "slow answer":
                server.after(7.0 * self._random.random() ** 2, client.answered, sent, outcome)
            case _ if self._random.random() < 0.5:
                client.answered(sent, outcome)
            case _:
                server.after(self.latency(), client.answered, sent, outcome)

    def farewell(self, server, client, sent, error):
        """Report to the client that its backend has ended."""
        del sent
        if self._random.random() < 0.9:
            error = error or ConnectionResetError("connection reset by peer")
            server.after(self.latency(), client.broken, error)
        else:
            client.is_severed = True
