"""Mutated requests to two engines side by side: where do their answers differ, and does one of them break?"""
