"""What stock, sales and reservations are, and what may happen to them. Knows the standard library alone."""
