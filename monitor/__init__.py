"""Uptoken: uptime for tokens. A monitoring daemon for LLM API providers."""

__version__ = "0.1.0"
