"""`holdfast`, the command line: it uses the public API alone, by holdfast_client."""
