"""Requests: routes, what each reads and answers, refusals with the specification's codes."""
