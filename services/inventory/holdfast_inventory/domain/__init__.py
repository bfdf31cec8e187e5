"""The domain: sales, stock and reservations, and the rules for changing them. Imports only the standard library."""
