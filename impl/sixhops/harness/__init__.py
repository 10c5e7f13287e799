"""The harness: scenarios in, exchanges observed, verdicts out. It starts programs and never imports one."""
