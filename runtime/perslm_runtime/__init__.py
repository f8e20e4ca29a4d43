"""Engines and knowledge as a library: no network service, no systemd, no configuration files."""

__version__ = "0.1.0"
