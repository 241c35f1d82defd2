"""TensorFlow's start-up lines, kept off the terminal."""

from __future__ import annotations

import os
import sys
import tempfile

import click


def load_tensorflow() -> None:
    """Import TensorFlow and look for devices, with what its C++ part writes to stderr meanwhile set aside.

    No setting silences those lines: they are written before its logging is set up. They are shown where the import
    fails, and with ``--debug``.
    """
    context = click.get_current_context(silent=True)
    if "tensorflow" in sys.modules or (context and (context.obj or {}).get("debug")):
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            aside.seek(0)
            os.write(terminal, aside.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
