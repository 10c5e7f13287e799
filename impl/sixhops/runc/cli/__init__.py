"""The command line: options into calls, results into text, the user's terminal."""
