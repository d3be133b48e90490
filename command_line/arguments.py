"""Names and values of arguments, checked against the function or class that takes them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from command_line.suggestions import nearest, suggestion
from command_line.tasks import UsageError


@dataclass(frozen=True)
class Argument:
    """An argument passed to a constructor or function.

    Attributes:
        option: Its option on the command line, such as ``--model.network.depth``.
        owner: Class or function that takes it.
        name: Name of the parameter.
        value: The value passed.
    """

    option: str
    owner: Any
    name: str
    value: Any


def check_name(argument: Argument) -> None:
    """Check that a parameter of this name exists.

    Raises:
        UsageError: It does not exist; a similar one is suggested.
    """
    parameters = inspect.signature(argument.owner).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    if argument.name not in parameters and not takes_any:
        remedy = suggestion(argument.name, parameters, "It takes")
        raise UsageError(argument.option, f"{argument.owner.__name__} does not take this option", remedy)


def check_value(argument: Argument) -> None:
    """Check one value against the type of its parameter.

    Raises:
        UsageError: The value does not have that type.
    """
    hints = type_hints(argument.owner)
    if argument.name not in hints:
        return
    # `--name 2` is parsed as a number, but is a valid string too.
    values = [argument.value, str(argument.value)] if isinstance(argument.value, int | float) else [argument.value]
    if not any(_fits(value, hints[argument.name]) for value in values):
        hint = hints[argument.name]
        near = nearest(argument.value, _words(hint)) if isinstance(argument.value, str) else None
        guess = f"Did you mean '{near}'? " if near else ""
        remedy = f"{guess}Give a value of type {type_name(hint)}."
        raise UsageError(argument.option, f"{argument.value!r} is not a valid value", remedy)


def _fits(value: Any, hint: Any) -> bool:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        parser.parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def _words(hint: Any) -> Iterator[str]:
    """Yield the words that a type allows."""
    for part in typing.get_args(hint):
        if isinstance(part, str):
            yield part
        else:
            yield from _words(part)


def type_hints(owner: Any) -> dict[str, Any]:
    """Return the types of the parameters of a class's constructor, or of a function.

    Returns:
        Types by name; empty if a library's annotations refer to imports that only type checkers run.
    """
    try:
        return typing.get_type_hints(owner.__init__ if inspect.isclass(owner) else owner)
    except NameError:
        return {}


def type_name(hint: Any) -> str:
    """Return a type as written in code.

    Example:
        >>> type_name(int | None), type_name(typing.Literal["mean", "sample"])
        ('int | None', "'mean' | 'sample'")
    """
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(repr, arguments))
    if type(None) in arguments:
        return " | ".join("None" if part is type(None) else type_name(part) for part in arguments)
    return hint.__name__ if inspect.isclass(hint) and not arguments else str(hint).replace("typing.", "")
