"""JSON lines: a value of JSON in each line of text."""
