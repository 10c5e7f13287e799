"""Checkpoint and restore, which CRIU does; this room tells it what a container is made of.

Loaded by the two commands alone: nothing that another command needs is here.
"""
