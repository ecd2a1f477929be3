"""The judging: one area is one Python file and one TOML file of words and law."""
