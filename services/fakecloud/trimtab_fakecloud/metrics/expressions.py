"""The part of PromQL that the fake Prometheus understands, as a tree, and its parser.

Selectors with matchers and ranges, sub-queries, numbers, arithmetic, aggregation with ``by``, and
the functions named in FUNCTIONS. Anything else is refused as Prometheus refuses what it cannot parse.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

AGGREGATIONS = frozenset({"avg", "sum", "min", "max", "count"})
OVER_TIME = frozenset(
    {
        "avg_over_time",
        "max_over_time",
        "min_over_time",
        "sum_over_time",
        "count_over_time",
        "last_over_time",
    }
)
RATES = frozenset({"rate", "irate", "increase"})
CLAMPS = frozenset({"clamp_max", "clamp_min"})
FUNCTIONS = OVER_TIME | RATES | CLAMPS

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<duration>(?:\d+(?:ms|[smhdw]))+)(?![\w])
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<name>[a-zA-Z_][\w:]*)
    | (?P<symbol>=~|!~|!=|[-+*/()\[\]{},:=])
    )""",
    re.VERBOSE,
)


class QueryError(ValueError):
    """The query is not understood."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label."""

    label: str
    operator: str
    value: str

    def predicate(self) -> Callable[[str], bool]:
        """Whether a label's value (empty if absent) passes."""
        if self.operator in ("=", "!="):
            return lambda value: (value == self.value) is (self.operator == "=")
        try:
            pattern = re.compile(self.value)
        except re.error as error:
            raise QueryError(f"error parsing regexp: {error}") from None
        return lambda value: (pattern.fullmatch(value) is not None) is (self.operator == "=~")


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by name and labels; with a range, their samples in a window."""

    name: str
    matchers: tuple[Matcher, ...]
    range_s: float | None = None


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression over a window, at steps."""

    inner: "Expression"
    range_s: float
    step_s: float | None


@dataclass(frozen=True, slots=True)
class Call:
    """A function."""

    function: str
    argument: "Expression"
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Many series made one for each combination of the labels."""

    operator: str
    labels: tuple[str, ...]
    inner: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic; of two vectors where all labels agree."""

    operator: str
    left: "Expression"
    right: "Expression"


Expression = Number | Selector | Subquery | Call | Aggregation | Binary


def parse(query: str) -> Expression:
    """The tree of a query.

    Raises:
        QueryError: it is not understood.
    """
    parser = _Parser(_tokens(query))
    tree = parser.expression()
    parser.expect_end()
    return tree


def duration_s(text: str) -> float:
    """Seconds of ``5m``, ``1h30m`` or a plain number.

    Raises:
        QueryError: it is no duration.
    """
    parts = re.findall(r"(\d+)(ms|[smhdw])", text)
    if parts and "".join(a + b for a, b in parts) == text:
        return sum(int(amount) * _UNITS[unit] for amount, unit in parts)
    try:
        return float(text)
    except ValueError:
        raise QueryError(f"cannot parse {text!r} to a valid duration") from None


def _tokens(query: str) -> list[tuple[str, str]]:
    tokens, position, text = [], 0, query.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise QueryError(f"parse error: unexpected character: {text[position]!r}")
        kind = match.lastgroup or ""
        tokens.append((kind, match.group(kind)))
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._position = 0

    def expect_end(self) -> None:
        if self._position < len(self._tokens):
            raise QueryError(f"parse error: unexpected {self._peek()[1]!r}")

    def expression(self) -> Expression:
        tree = self._product()
        while self._peek()[1] in ("+", "-") and self._peek()[0] == "symbol":
            operator = self._next()[1]
            tree = Binary(operator, tree, self._product())
        return tree

    def _product(self) -> Expression:
        tree = self._ranged()
        while self._peek()[1] in ("*", "/") and self._peek()[0] == "symbol":
            operator = self._next()[1]
            tree = Binary(operator, tree, self._ranged())
        return tree

    def _ranged(self) -> Expression:
        tree = self._primary()
        while self._take("["):
            range_s = self._duration()
            if self._take(":"):
                step_s = None if self._peek()[1] == "]" else self._duration()
                tree = Subquery(tree, range_s, step_s)
            elif isinstance(tree, Selector) and tree.range_s is None:
                tree = Selector(tree.name, tree.matchers, range_s)
            else:
                raise QueryError("parse error: ranges only allowed for vector selectors")
            self._expect("]")
        return tree

    def _primary(self) -> Expression:  # noqa: PLR0911, one for each kind of expression
        kind, text = self._next()
        if kind == "number":
            return Number(float(text))
        if text == "(":
            tree = self.expression()
            self._expect(")")
            return tree
        if text == "-":
            return Binary("-", Number(0.0), self._primary())
        if text == "{":
            return self._selector("")
        if kind != "name":
            raise QueryError(f"parse error: unexpected {text or 'end of input'!r}")
        if text in AGGREGATIONS and self._peek()[1] in ("(", "by"):
            return self._aggregation(text)
        if self._peek()[1] == "(":
            return self._call(text)
        return self._selector(text) if self._take("{") else Selector(text, ())

    def _selector(self, name: str) -> Selector:
        matchers = []
        while not self._take("}"):
            label, operator = self._name(), self._next()[1]
            kind, value = self._next()
            if operator not in ("=", "!=", "=~", "!~") or kind != "string":
                raise QueryError("parse error: unexpected token in label matching")
            matchers.append(Matcher(label, operator, _unquoted(value)))
            if not self._take(","):
                self._expect("}")
                break
        return Selector(name, tuple(matchers))

    def _aggregation(self, operator: str) -> Aggregation:
        labels = self._grouping()
        self._expect("(")
        inner = self.expression()
        self._expect(")")
        return Aggregation(operator, labels or self._grouping(), inner)

    def _grouping(self) -> tuple[str, ...]:
        if not self._take("by"):
            return ()
        self._expect("(")
        labels = []
        while not self._take(")"):
            labels.append(self._name())
            self._take(",")
        return tuple(labels)

    def _call(self, function: str) -> Call:
        if function not in FUNCTIONS:
            raise QueryError(f"parse error: unknown function with name {function!r}")
        self._expect("(")
        argument = self.expression()
        bound = None
        if function in CLAMPS:
            self._expect(",")
            limit = self.expression()
            if not isinstance(limit, Number):
                raise QueryError(f"the fake Prometheus wants a number as bound of {function}")
            bound = limit.value
        self._expect(")")
        is_range = isinstance(argument, Subquery) or (
            isinstance(argument, Selector) and argument.range_s is not None
        )
        if is_range is (function in CLAMPS):
            wanted = "instant vector" if function in CLAMPS else "range vector"
            raise QueryError(
                f"parse error: expected type {wanted} in call to function {function!r}"
            )
        return Call(function, argument, bound)

    def _duration(self) -> float:
        kind, text = self._next()
        if kind not in ("duration", "number"):
            raise QueryError(f"parse error: unexpected {text!r} in subquery or range")
        return duration_s(text)

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise QueryError(f"parse error: unexpected {text!r}, expected a label name")
        return text

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._position] if self._position < len(self._tokens) else ("", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._position += 1
        return token

    def _take(self, symbol: str) -> bool:
        if self._peek()[1] != symbol or self._peek()[0] == "string":
            return False
        self._position += 1
        return True

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            found = self._peek()[1] or "end of input"
            raise QueryError(f"parse error: unexpected {found!r}, expected {symbol!r}")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text[1:-1])
