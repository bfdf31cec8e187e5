"""The stock core: commands of a sale, committed in groups."""
