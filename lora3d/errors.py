"""The one exception that means: the input is at fault, not the program."""


class InputError(ValueError):
    """Says in one or two lines what was expected, what was found and what to do next.

    The command line prints it without a traceback and exits with 1.
    """
