"""Containers: their documents, their life cycle, their streams and logs, and what containerd is told to run for them.

Here are the nouns (`model`, `held`, `registry`, `settings`, `files`, `times`), the table of states (`lifecycle`), and the
operations of the API (`manager`); the sub-packages do the work, and each says in a sentence which.
"""
