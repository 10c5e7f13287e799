"""The commands, one module for each family; `main` imports the one that is asked for."""
