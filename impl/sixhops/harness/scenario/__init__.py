"""The scenario language: its definition (`grammar`), its loader, its variables and its texts.

Import from the modules; this package re-exports nothing, so that the judge can use the model without the
loader.
"""
