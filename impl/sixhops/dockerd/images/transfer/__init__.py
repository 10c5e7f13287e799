"""Between the engine and a registry: pull, push, search, credentials, and what is asked without an image."""
