"""A program's stdin, stdout and stderr on one side, attached clients on the other."""
