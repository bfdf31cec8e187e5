"""The stock core: group commit of a sale's commands."""
