"""From the text of a file to its abstract syntax tree, reporting many syntax errors at once.

The grammar is `grammar.lark`. A statement ends at a newline, so the token stream is filtered on
its way to the parser: newlines inside ( ), [ ] and struct literals, after a binary operator or a
comma, and repeated ones are dropped.

To go on after an error, the lines it spoils are blanked (a brace that they open stays open) and
the file is parsed again; places stay true because lines never move.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lark
from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from toolchain.kern.build import build
from toolchain.kern.diagnostics import Diagnostic, KernErrors, Place, Source
from toolchain.kern.syntax import Module

_MOST_ERRORS = 20
_DEEPEST = 100
"""Brackets within brackets; far more would exhaust the stack of the passes that follow."""

_OPENING = {"LPAR": "(", "LSQB": "[", "STRUCT_BRACE": "{", "LBRACE": "block"}
_CLOSING = {"RPAR", "RSQB", "RBRACE"}
_CONTINUES = {
    "_COMMA", "EQUAL", "UPDATE", "VBAR", "CIRCUMFLEX", "AMPERSAND", "PLUS", "MINUS", "STAR",
    "SLASH", "PERCENT", "AT", "LESSTHAN", "MORETHAN",
}  # fmt: skip
_CONTINUING_TEXT = {"||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "->", ".."}
_EXPRESSION = {"NAME", "NUMBER", "STRING"}
_SPELLED = {
    "_NL": "the end of the line", "RBRACE": "'}'", "LBRACE": "'{'", "RPAR": "')'", "RSQB": "']'",
    "NAME": "a name", "STRING": "a string", "_COMMA": "','", "COLON": "':'", "EQUAL": "'='",
    "LPAR": "'('", "IN": "'in'", "DOT": "'.'", "FN": "'fn'", "BANG": "'!'", "ELSE": "'else'",
    "__ANON_0": "'->'", "ELLIPSIS": "'...'", "$END": "the end of the file", "IF": "'if'",
}  # fmt: skip


class _Newlines:
    """The filter between lexer and parser; remembers what is open, for messages."""

    always_accept = ("_NL",)

    def __init__(self) -> None:
        self.open: list[Token] = []

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """Passes on the tokens that the grammar should see."""
        self.open = []
        last = "_NL"
        for token in stream:
            if token.type == "_NL" and (self._inside_brackets() or last in ("_NL", "+")):
                continue
            self._track(token)
            continues = token.type in _CONTINUES or token.value in _CONTINUING_TEXT
            last = "+" if continues else token.type
            yield token

    def _inside_brackets(self) -> bool:
        return bool(self.open) and self.open[-1].type != "LBRACE"

    def _track(self, token: Token) -> None:
        if token.type in _OPENING:
            self.open.append(token)
            if len(self.open) > _DEEPEST:
                raise _TooDeep(token)
        elif token.type in _CLOSING and self.open:
            self.open.pop()


class _TooDeep(Exception):
    def __init__(self, token: Token) -> None:
        super().__init__()
        self.token = token


def parse(source: Source) -> Module:
    """The tree of one file.

    Raises KernErrors with every syntax error found (at most 20).
    """
    diagnostics: list[Diagnostic] = []
    text = source.text if source.text.endswith("\n") else source.text + "\n"
    while len(diagnostics) < _MOST_ERRORS:
        try:
            tree = _parser().parse(text)
            items, wrong = build(tree, source.file)
            diagnostics += wrong
            break
        except UnexpectedInput as error:
            opener = _newlines().open[-1] if _newlines().open else None
            diagnostics.append(_describe(source, error, opener, text))
            blanked = _blank(text, error, opener)
        except _TooDeep as error:
            diagnostics.append(_too_deep(source, error.token))
            break
        if blanked is None or blanked == text:
            break
        text = blanked
    if diagnostics:
        raise KernErrors(diagnostics, [source])
    return Module(source.module, source.file, items)


@cache
def _newlines() -> _Newlines:
    return _Newlines()


@cache
def _parser() -> Lark:
    """The parser, from the user's cache directory when it was made before from this grammar."""
    grammar = (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8")
    stored: str | bool = _cache_file(grammar) or False
    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        postlex=_newlines(),
        propagate_positions=True,
        maybe_placeholders=True,
        cache=stored,
    )


def _cache_file(grammar: str) -> str | None:
    """Where the tables lie (a name per grammar and lark version); None when none can be kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    key = hashlib.sha256(f"{lark.__version__}\n{grammar}".encode()).hexdigest()[:16]
    folder = Path(base) / "aios"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder / f"kern-grammar-{key}.pickle")


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


def _describe(
    source: Source, error: UnexpectedInput, opener: Token | None, text: str
) -> Diagnostic:
    file = source.file
    if isinstance(error, UnexpectedCharacters):
        return _describe_character(file, error, text)
    assert isinstance(error, UnexpectedToken)
    token, expected = error.token, set(error.accepts or ())
    hint = ""
    if opener is not None and opener.type != "LBRACE" and (opener.line or 0) < (token.line or 0):
        return Diagnostic(_place(file, opener), f"this '{opener.value}' is never closed")
    if token.type == "$END" and opener is not None:
        message = f"the file ends before the '}}' of this '{opener.value}'"
        return Diagnostic(_place(file, opener), message)
    before = error.token_history[-1] if error.token_history else None
    if before is not None and before.value == "else" and before.type == "NAME":
        hint = "'else' stands on the line of the '}' before it"
        return Diagnostic(_place(file, before), "unexpected 'else'", hint)
    if token.type == "STRUCT_BRACE":
        hint = "a block's '{' has a space before it; against a name it is a struct literal"
    what = "end of the line" if token.type == "_NL" else f"'{token.value}'"
    return Diagnostic(_place(file, token), f"unexpected {what}{_expected(expected, ', ')}", hint)


def _expected(terminals: set[str], before: str = "") -> str:
    """What could have stood there, when that can be said briefly."""
    if terminals >= _EXPRESSION:
        return f"{before}expected an expression"
    terminals -= {"DOT", "LSQB", "STRUCT_BRACE"} if len(terminals) > 3 else set()
    if not 0 < len(terminals) <= 3 or not terminals <= set(_SPELLED):
        return ""
    return f"{before}expected " + " or ".join(sorted(_SPELLED[t] for t in terminals))


def _describe_character(file: str, error: UnexpectedCharacters, text: str) -> Diagnostic:
    place = Place(file, error.line, error.column)
    character = text[error.pos_in_stream or 0]
    if character == '"':
        return Diagnostic(Place(file, error.line, error.column, 1000), "this string has no end")
    if character == "'":
        return Diagnostic(place, "a character literal holds one byte, as in 'A'")
    if character == "{":
        message = "unexpected '{'"
        return Diagnostic(place, message)
    if character == ";":
        return Diagnostic(place, "unexpected ';'", "a statement ends at the end of its line")
    return Diagnostic(place, f"unexpected '{character}'" if character.isprintable() else
                      f"unexpected character U+{ord(character):04X}")  # fmt: skip


def _too_deep(source: Source, token: Token) -> Diagnostic:
    message = f"more than {_DEEPEST} brackets stand within one another"
    return Diagnostic(_place(source.file, token), message)


def _place(file: str, token: Token) -> Place:
    if token.type == "_NL":
        return Place(file, token.line or 1, token.column or 1)
    return Place(file, token.line or 1, token.column or 1, max(1, len(token.value.split("\n")[0])))


# ── Going on after an error ──────────────────────────────────────────────────────────────────


def _blank(text: str, error: UnexpectedInput, opener: Token | None) -> str | None:
    """The text without the lines that the error spoils; None when nothing more can be learnt."""
    lines = text.split("\n")
    last = min(error.line, len(lines)) - 1 if error.line and error.line > 0 else len(lines) - 1
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return None
    first = last
    while first > 0 and re.search(r"([-+*/%&|^=,<>]|\.\.)\s*(#.*)?$", lines[first - 1]):
        first -= 1
    if opener is not None and opener.type != "LBRACE" and opener.line and opener.line <= last:
        first = opener.line - 1
        last = _bracket_end(lines, first, last)
    for number in range(first, last + 1):
        replacement = _skeleton(lines[number])
        if replacement is None or (number == last and replacement == lines[number]):
            return None
        lines[number] = replacement
    return "\n".join(lines)


def _bracket_end(lines: list[str], first: int, last: int) -> int:
    """The line where the brackets that line `first` opens are closed; `first` if none closes."""
    depth = 0
    for number in range(first, min(len(lines), last + 50)):
        code = _bare(lines[number])
        if number > first and re.match(r"(fn|struct|enum|test|extern|export)\b", code):
            return first
        depth += sum(code.count(c) for c in "([") - sum(code.count(c) for c in ")]")
        if depth <= 0:
            return max(number, first)
    return first


def _skeleton(line: str) -> str | None:
    """A line that keeps the block structure of `line` and nothing else; None when it cannot."""
    code = _bare(line).strip()
    opened, closed = code.count("{"), code.count("}")
    if opened == closed and not code.startswith("}"):
        return ""
    indent = line[: len(line) - len(line.lstrip())]
    if code.startswith("}") and opened == closed:
        return indent + "} else {"
    if opened == closed + 1:
        return indent + ("if true {" if indent else "fn _() {")
    if closed == opened + 1:
        return indent + "}"
    return None


def _bare(line: str) -> str:
    """The line without its strings and comment."""
    return re.sub(r'"([^"\\]|\\.)*"?|\'([^\'\\]|\\.)\'|#.*', "", line)
