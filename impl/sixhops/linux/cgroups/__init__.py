"""Control groups, version 1, version 2, and the two side by side (hybrid)."""
