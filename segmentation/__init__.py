"""Mask level: which pixels of a picture were inpainted. Stands on the ground floor of ``fakeclf``."""
