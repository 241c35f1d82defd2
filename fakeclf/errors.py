"""The one exception a user is meant to see."""


class FakeclfError(Exception):
    """Something the user can put right: one line that says what was wrong, what is allowed and what to do.

    The command line prints the message and exits with code 1; a traceback appears only with ``--debug``.
    """
