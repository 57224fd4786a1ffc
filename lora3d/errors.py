"""The one exception that means: the input is at fault, not the program."""


class InputError(ValueError):
    """Says in one or two lines what was expected, what was found and what to do next.

    The command line prints it without a traceback and exits with 1.
    """


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
