"""The stock core on virtual time, against a model of its database: any number of seeds, each of them exactly again."""
