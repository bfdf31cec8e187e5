"""The stock core on virtual time, against a model of its database: as many seeds as one likes, each of them exactly again."""
