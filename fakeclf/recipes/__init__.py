"""Recipes: one YAML file each; the header comment gives the command, the time and the result to expect."""
