"""What the proofs of the lab and the tests have in common, once: processes, links, refusals, event streams, numbers."""
