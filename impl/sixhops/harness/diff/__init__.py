"""What two runs did, compared: normalise a transcript, compare two, leave out what is accepted. docs/diff.md is the manual.

`normalise`, `diff` and everything that they use do no I/O. Import from the modules; this package re-exports nothing, so that
the suite's readers have the accepted differences without what compares.
"""
