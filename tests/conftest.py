"""That this file is here makes the modules beside it (certificates) importable by all tests."""
