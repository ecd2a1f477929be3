"""Collects a server's evidence once, judges it offline, and reports what was seen."""

__version__ = "0.1.0"
