"""Watches of stock levels and movements, across replicas."""
