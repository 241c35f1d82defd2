"""Recipes of the mask level, as YAML."""
