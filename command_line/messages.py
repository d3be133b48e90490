"""The parser's messages, shortened.

jsonargparse gives a wrong argument as text alone: its exceptions carry neither the option nor the type. Names and
values are therefore checked against the classes themselves (see :mod:`command_line.checks`); what that does not
explain is shown in the parser's words, on one line. Tried with jsonargparse 4.53 and, at the least, 4.41.
"""

from __future__ import annotations


def shortened(message: str) -> str:
    """Return a message on one line.

    Example:
        >>> shortened("Parser key 'x':\\n  Expected an int")
        "Parser key 'x': Expected an int"
    """
    return " ".join(message.split())
