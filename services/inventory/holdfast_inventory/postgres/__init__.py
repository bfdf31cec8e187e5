"""The store in PostgreSQL: each sale is a serial log, appended in batches."""
