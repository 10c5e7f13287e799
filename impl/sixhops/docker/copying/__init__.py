"""Files and archives that commands read and write."""
