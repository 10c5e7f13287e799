"""Records: SQLite, what leads to what, names, labels and times."""
