"""What labs and tests share: processes, links, clients, refusals, event streams and reports."""
