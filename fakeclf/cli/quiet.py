"""TensorFlow's start-up lines, kept off the terminal."""

from __future__ import annotations

import sys

import click

from fakeclf.aside import stderr_aside


def load_tensorflow() -> None:
    """Import TensorFlow and look for devices, with what its C++ part writes to stderr meanwhile set aside.

    No setting silences those lines: they are written before its logging is set up. They are shown where the import
    fails, and with ``--debug``.
    """
    context = click.get_current_context(silent=True)
    if "tensorflow" in sys.modules or (context and (context.obj or {}).get("debug")):
        return
    with stderr_aside():
        import tensorflow as tf

        tf.config.list_physical_devices()
