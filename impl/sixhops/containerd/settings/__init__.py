"""What the program is told (config.toml, flags) and what it tells of itself (plugins, log)."""
