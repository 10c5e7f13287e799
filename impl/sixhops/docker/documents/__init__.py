"""From the options of run, create, update and network create to the documents of the Engine API."""
