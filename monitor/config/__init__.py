"""config.toml, read once, strictly, and turned into frozen settings."""
