"""The lifetime of a watch: shorter than the transport allows, so that it ends by itself and says how to resume."""

from dataclasses import dataclass

from holdfast_chassis.entropy import Entropy

_USABLE_SHARE = 0.9
"""The usable part of the grace. The rest is for the network, and for the database if the watch waits for it."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The range of a watch's lifetime, in seconds."""

    shortest_seconds: float
    longest_seconds: float

    def drawn(self, entropy: Entropy) -> float:
        """Return a random lifetime in seconds, so that watches that began together do not resume together."""
        return entropy.uniform(self.shortest_seconds, self.longest_seconds)


def lifetime_within(
    connection_age_seconds: float,
    connection_age_grace_seconds: float,
    *,
    heartbeat_seconds: float,
    write_seconds: float,
) -> Lifetime:
    """Return the lifetime of watches on connections that gRPC closes `grace` seconds after they reach their `age`.

    A watch may begin when its connection is just reaching that age (which gRPC varies by a tenth and does not report),
    so the longest lifetime must fit into the grace. A watch ends only after an event; events come at least every
    `heartbeat_seconds`, and a reader may take `write_seconds` for one. A watch lasts no longer than a connection;
    otherwise new replicas would get watches later than calls. Raises ValueError if the settings leave no room.
    """
    within_grace = connection_age_grace_seconds * _USABLE_SHARE - heartbeat_seconds - write_seconds
    longest = min(connection_age_seconds, within_grace)
    if longest < 2 * heartbeat_seconds:
        raise ValueError(
            "a watch must last at least two heartbeats: connection_age_seconds must be at least twice "
            "watch_heartbeat_seconds, and nine tenths of connection_age_grace_seconds at least three times "
            "watch_heartbeat_seconds plus watch_reader_seconds"
        )
    return Lifetime(longest / 2, longest)
