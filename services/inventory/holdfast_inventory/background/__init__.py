"""Background work: ends due holds and opens scheduled sales."""
