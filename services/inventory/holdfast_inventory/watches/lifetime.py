"""How long a watch lasts: less than the transport lets it, so that it ends by itself and says how to go on."""

from dataclasses import dataclass

from holdfast_chassis.entropy import Entropy

_USABLE_SHARE = 0.9
"""Of the grace. The rest is for the way to the client, and for the database, which a watch may be waiting for."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Between which a watch lasts, in seconds."""

    shortest_seconds: float
    longest_seconds: float

    def drawn(self, entropy: Entropy) -> float:
        """Return the seconds of one watch, at random: those that began together must not come back together."""
        return entropy.uniform(self.shortest_seconds, self.longest_seconds)


def lifetime_within(
    connection_age_seconds: float,
    connection_age_grace_seconds: float,
    *,
    heartbeat_seconds: float,
    write_seconds: float,
) -> Lifetime:
    """Return how long watches may last on connections that gRPC ends `grace` after they have reached their `age`.

    A watch may begin in the moment in which its connection reaches that age (which gRPC varies by a tenth, and does
    not tell): so the longest must fit into the grace alone. It ends only behind an event, of which there is one every
    `heartbeat_seconds` and which may take its reader `write_seconds`. And it lasts no longer than a connection does,
    or new replicas would wait for watchers longer than for calls. Raises ValueError when there is no room for that.
    """
    within_grace = connection_age_grace_seconds * _USABLE_SHARE - heartbeat_seconds - write_seconds
    longest = min(connection_age_seconds, within_grace)
    if longest < 2 * heartbeat_seconds:
        raise ValueError(
            "a watch must last two heartbeats at least: connection_age_seconds must not be under twice "
            "watch_heartbeat_seconds, and connection_age_grace_seconds must have room for three times "
            "watch_heartbeat_seconds and for watch_reader_seconds, and a ninth more"
        )
    return Lifetime(longest / 2, longest)
