"""The door to Jinja: templates that came from outside, in a sandbox that really ends them.

A template of a stranger is data. It may use a list of filters, tests and text methods written here, nothing else;
every loop, call, concatenation and multiplication is counted, so one that would run or grow without end is
stopped in the middle of it, in the thread it runs in. Knows no device and no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from jinja2 import StrictUndefined, TemplateError, Undefined, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from perslm_runtime.errors import InputError
from perslm_runtime.template_filters import (
    FILTERS,
    FUNCTIONS,
    MAX_TEXT,
    MISSING,
    Runaway,
    budget,
    check_growth,
    check_replacement,
    concatenated,
    counted,
    fits,
    format_,
)

MAX_SOURCE = 8_192
"""Characters of a template; the longest light templates that people publish have about 1,500."""

_DEEPEST = 40


class TemplateRefused(InputError):
    """A template that cannot be read, or uses what it may not use."""


class TemplateRunaway(InputError):
    """A template that was stopped: too many steps, too long, too much text, or a step that is not allowed."""


def chat_environment() -> ImmutableSandboxedEnvironment:
    """The environment of the chat templates in model files; `raise_exception` is the one function they call."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment


ChatTemplateError = TemplateError
"""What a chat template raises that cannot be read or rendered, or that refuses its messages."""


def _refuse(reason: str) -> NoReturn:
    raise TemplateError(reason)


class Template:
    """One template of a stranger, compiled once. Used in one thread."""

    __slots__ = ("_compiled", "_path", "source")

    def __init__(self, source: str) -> None:
        """Compile; raises `TemplateRefused` with what is wrong."""
        self.source = source
        self._path = _plain_path(source)
        self._compiled: Any = None if self._path is not None else _compiled(source)

    def render(self, variables: Mapping[str, Any]) -> str | None:
        """The text, stripped; None where it names something that is not there.

        Raises `TemplateRunaway` when it was stopped, or failed in another way than by something missing.
        """
        if self._path is not None:
            return _followed(self._path, variables)
        budget.start()
        try:
            text: str = self._compiled.render(variables).strip()
        except UndefinedError:
            return None
        except Runaway as error:
            raise TemplateRunaway(str(error)) from error
        except (SecurityError, TemplateError) as error:
            raise TemplateRunaway(f"it does what it may not do ({error})") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return None  # the value is not what the template expects: as if it were not there
        except (RecursionError, MemoryError) as error:
            raise TemplateRunaway("it needs too much room") from error
        return text if len(text) <= MAX_TEXT else _too_much()


def _too_much() -> NoReturn:
    raise TemplateRunaway(f"it made more than {MAX_TEXT // 1024} KB of text")


# {{ value_json.a.b }} and {{ value }} are nine of ten templates: read without Jinja they cost 1 µs instead of 15.
_PLAIN = re.compile(
    r"\{\{\s*(value|value_json)((?:\.[A-Za-z_]\w*|\[\s*'[^'\\\]]+'\s*\]|\[\s*\"[^\"\\\]]+\"\s*\])*)\s*\}\}"
)
_PART = re.compile(r"\.([A-Za-z_]\w*)|\[\s*['\"]([^'\"]+)['\"]\s*\]")


def _plain_path(source: str) -> tuple[str, ...] | None:
    found = _PLAIN.fullmatch(source.strip())
    if found is None:
        return None
    return (found[1], *(a or b for a, b in _PART.findall(found[2])))


def _followed(path: tuple[str, ...], variables: Mapping[str, Any]) -> str | None:
    value: Any = variables
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return (value if isinstance(value, str) else str(value)).strip()


class _Guard(NodeTransformer):
    """Allows only the nodes of plain templates, and counts loops and concatenations."""

    _ALLOWED = (
        nodes.Template,
        nodes.Output,
        nodes.TemplateData,
        nodes.If,
        nodes.For,
        nodes.Assign,
        nodes.Name,
        nodes.NSRef,
        nodes.Const,
        nodes.List,
        nodes.Tuple,
        nodes.Dict,
        nodes.Pair,
        nodes.CondExpr,
        nodes.Filter,
        nodes.Test,
        nodes.Call,
        nodes.Keyword,
        nodes.Getattr,
        nodes.Getitem,
        nodes.Slice,
        nodes.Compare,
        nodes.Operand,
        nodes.BinExpr,
        nodes.UnaryExpr,
        nodes.Concat,
    )

    def generic_visit(self, node: nodes.Node, *args: Any, **more: Any) -> nodes.Node:
        if not isinstance(node, self._ALLOWED):
            raise TemplateRefused(f"it uses {type(node).__name__.lower()}, which no device needs")
        return super().generic_visit(node, *args, **more)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja calls it by the node's name
        if node.recursive:
            raise TemplateRefused("it uses a recursive loop, which no device needs")
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_counted", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - as above
        self.generic_visit(node)
        first, *rest = node.nodes
        return nodes.Filter(first, "_concatenated", list(rest), [], None, None, lineno=node.lineno)


_OF_TEXT = frozenset(
    ("lower", "upper", "strip", "lstrip", "rstrip", "split", "startswith", "endswith", "replace", "title")
) | {"capitalize", "find", "isdigit"}
_OF_DICTS = frozenset(("get", "keys", "values", "items"))


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja with its steps counted and only what is listed here."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, cache_size=0)
        self.filters = {name: _bounded(function) for name, function in FILTERS.items()}
        self.filters |= {"_counted": counted, "_concatenated": concatenated}
        self.tests = {name: self.tests[name] for name in _TESTS}
        self.globals = {"namespace": self.globals["namespace"], **FUNCTIONS}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Guard().visit(tree)
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str | bytes):
            return fits(format_(str(left), right))
        if operator in ("*", "+", "**"):
            check_growth(operator, left, right)
        return fits(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        budget.step()
        if isinstance(obj, str):
            return attr in _OF_TEXT
        if isinstance(obj, Mapping):
            return attr in _OF_DICTS
        return super().is_safe_attribute(obj, attr, value) and not callable(value)

    def is_safe_callable(self, obj: Any) -> bool:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str | Mapping):
            return getattr(obj, "__name__", "") in _OF_TEXT | _OF_DICTS
        return obj in self.globals.values()

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of an object before a method of the same name: a device may report `items` or `values`."""
        if isinstance(obj, Mapping) and attribute in obj:
            budget.step()
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        budget.step()
        return super().getitem(obj, argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **more: Any) -> Any:  # noqa: N805 - Jinja's names
        if getattr(__obj, "__name__", "") == "replace" and len(args) > 1:
            check_replacement(str(getattr(__obj, "__self__", "")), str(args[0]), str(args[1]))
        return fits(super().call(__context, __obj, *args, **more))


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **more: Any) -> Any:
        budget.step()
        return fits(function(*(MISSING if isinstance(one, Undefined) else one for one in args), **more))

    return called


_TESTS = (
    *("defined", "undefined", "none", "number", "integer", "float", "string", "mapping", "sequence", "iterable"),
    *("boolean", "true", "false", "in", "odd", "even", "divisibleby", "eq", "equalto", "ne", "lt"),
    *("lessthan", "le", "gt", "greaterthan", "ge", "==", "!=", "<", "<=", ">", ">="),
)


def _compiled(source: str) -> Any:
    if len(source) > MAX_SOURCE:
        raise TemplateRefused(f"it has {len(source)} characters and at most {MAX_SOURCE} are read")
    if _depth(source) > _DEEPEST:
        raise TemplateRefused("it is nested too deeply")
    try:
        return _ENVIRONMENT.from_string(source)
    except TemplateError as error:
        raise TemplateRefused(f"it cannot be read ({error})") from error
    except (RecursionError, MemoryError, OverflowError, SyntaxError, ValueError) as error:
        raise TemplateRefused("it cannot be read") from error


def _depth(source: str) -> int:
    depth = deepest = 0
    for character in source:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth = max(0, depth - 1)
    return deepest


_ENVIRONMENT = _Environment()
