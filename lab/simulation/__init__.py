"""The stock core on virtual time, against a model of its database. Each seed can be repeated exactly."""
