"""The domain in PostgreSQL: each sale is a serial log, appended in groups."""
