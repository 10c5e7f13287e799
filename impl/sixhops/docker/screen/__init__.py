"""What people see: tables, templates, progress, sizes and times in words, the terminal itself."""
