"""The functions of the module `tensors` that the instruction table gives: one an instruction.

`tensors.kern` holds what they share (memory, views, conversions); the text made here is appended to
it. From the declaration of an instruction (`emu.isa.xaitensor`) come the parameters, the dims and
the type of the result, the attribute block, and the descriptors that are loaded:

    tensor("tsoftmax", …, "x: T[*a, n@axis, *c] -> d: T[*a, n, *c]", …)
    fn softmax(x: tensor, axis: int) -> tensor

Parameters are the sources; further results, as pointers; `dims` and `dtype` of the result where
the sources do not say them; then the attributes that the instruction has a use for. One that
needs many of these, or takes operands that may be left out, has two functions: `conv(x, w)` with
all that at its default, and `conv_with(x, w, bias, &options)`; what is left out is `none`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache, cached_property

from emu.isa.xaitensor import TENSORS, Declaration
from emu.isa.xaitensor.notation import names_of
from emu.isa.xaitensor.signature import Dim, Operand
from toolchain.kern.types import ELEMENT_CODES

_SCALARS = {"axis": "int", "alpha": "float", "beta": "float", "gamma": "float", "count": "int"}
"""Fields of the attribute block that become parameters, and their types there."""
_STORED = {"axis": "i32", "alpha": "f32", "beta": "f32", "gamma": "f32", "count": "u32"}
_BLOCK = {"groups", "kernel", "stride", "dilation", "pad_begin", "pad_end", "spatial_rank"}
"""Fields that are not worth a parameter each."""
_RULES = {"windows", "reduced", "ones"}
"""Rules of shapes that `tensors.kern` has too; a result of any other takes its `dims`."""
_LOOKED_AT = {
    "reduced": {"axes", "keep"}, "padded": {"pad_begin"}, "resizable": {"kernel"},
}  # fmt: skip
"""Attributes that rules look at by themselves."""
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "/"}
_CODES = {str(type_): code for type_, code in ELEMENT_CODES.items()} | {"i64": 7}


@cache
def functions() -> dict[str, str]:
    """The text of every function, by name."""
    found: dict[str, str] = {}
    for declaration in TENSORS.values():
        found |= dict(_Function(declaration).texts())
    return found


@cache
def like_source() -> dict[str, int]:
    """Which source (counted from 0) has the elements that the plain result has, by function."""
    found = {}
    for declaration in TENSORS.values():
        function = _Function(declaration)
        name = function.same_as(function.result)
        if name is not None:
            for written, _ in function.texts():
                found[written] = [o.name for o in function.sources].index(name)
    return found


def used(names: Collection[str]) -> str:
    """The text of those functions that `names` has."""
    every = functions()
    return "\n".join(every[name] for name in sorted(every.keys() & set(names)))


class _Function:
    """Writes the function of one instruction, or the two of them."""

    def __init__(self, declaration: Declaration) -> None:
        self.of = declaration
        self.name = declaration.mnemonic[1:]
        self.result = declaration.results[0]
        self.sources = [o for o in declaration.operands if not o.written]
        self.further = list(declaration.results[1:])

    @cached_property
    def attributes(self) -> list[str]:
        """Names of fields, flags and modes that any expression of the declaration uses."""
        used = set(self.of.attributes)
        for line in re.split(r"\n(?=[^\n]*? = )", self.of.means):
            _, equals, text = line.partition(" = ")
            used |= names_of(text if equals else line)
            if "act(" in line:
                used.add("act")
        text = " ".join([self.of.signature, *self.of.requires])
        for rule, fields in _LOOKED_AT.items():
            if f"{rule}(" in text:
                used |= fields
        known = {*_SCALARS, *_BLOCK, "axes", "act", *self.of.flags, *self.of.modes}
        return sorted(used & known, key=[*_SCALARS, *used].index)

    @cached_property
    def plain(self) -> bool:
        """Whether every attribute is a parameter of its own."""
        return not {*self.attributes} & (_BLOCK | {"act", "kernel"})

    @cached_property
    def free_dims(self) -> bool:
        """Whether the caller must say what dims the result has."""
        return any(not self._known(dim) for dim in self.result.dims)

    @cached_property
    def free_type(self) -> bool:
        """Whether the caller must say what its elements are."""
        return self._dtype(self.result) is None

    def texts(self) -> Iterator[tuple[str, str]]:
        """Names and texts."""
        optional = any(o.optional for o in self.of.operands)
        if self.plain and not optional:
            yield self.name, self._text(self.name, whole=True)
            return
        yield f"{self.name}_with", self._text(f"{self.name}_with", whole=True)
        if not {"kernel", *self.of.modes} & {*self.attributes}:
            yield self.name, self._text(self.name, whole=False)

    def _text(self, name: str, *, whole: bool) -> str:
        """The function with all parameters, or without those that can be left out."""
        given = [o for o in self.sources if whole or not o.optional]
        written = [o for o in self.further if whole or not o.optional]
        parameters = [f"{o.name}: tensor" for o in given]
        parameters += [f"{o.name}: ptr[tensor]" for o in written]
        parameters += ["dims: slice[int]"] * self.free_dims + ["dtype: int"] * self.free_type
        has_block = bool(self.of.form.block) and (
            bool(written) or any(o.extra is not None for o in given)
        )
        body: list[str] = []
        block = "null"
        if self.plain and (own := self._parameters()):
            parameters += own
            has_block = True
        if whole and not self.plain:
            parameters.append("options: ptr[Options]")
            has_block = True
        if has_block:
            body += ["block: tensor", "at = ptr[Options](&block)"]
            block = "ptr(at)"
            body += ["if options != null { *at = *options }"] if whole and not self.plain else []
            body += self._fill() if self.plain else []
        body += self._results(written, block)
        body += [f"load_extra({o.extra}, &{o.name}, at)" for o in given if o.extra is not None]
        operands = ", ".join(str(i) for i in range(1 + self.of.form.sources))
        body += ["tld(0, &out)"]
        body += [f"tld({o.number}, &{o.name})" for o in given if o.extra is None]
        body += [f"{self.of.mnemonic}({operands}{', ' + block if self.of.form.block else ''})"]
        body += ["return out"]
        fixed = self.result.type if self.result.type in _CODES else ""
        gives = f"tensor[{fixed}]" if fixed else "tensor"
        head = f"# {self.of.doc}\nfn {name}({', '.join(parameters)}) -> {gives} {{\n"
        return head + "".join(f"    {line}\n" for line in body) + "}\n"

    def _parameters(self) -> list[str]:
        """The attributes as parameters."""
        found = [f"{n}: {t}" for n, t in _SCALARS.items() if n in self.attributes]
        found += ["axes: slice[int]"] if "axes" in self.attributes else []
        found += ["mode: int"] if self.of.modes else []
        return found + [f"{flag}: bool" for flag in self.of.flags if flag in self.attributes]

    def _fill(self) -> list[str]:
        """The attribute block from parameters and declared defaults."""
        lines = [
            f"at.{field} = {_number(value)}" for field, value in self.of.defaults.items()
            if field not in self.attributes
        ]  # fmt: skip
        lines += [f"at.{n} = {t}({n})" for n, t in _STORED.items() if n in self.attributes]
        if "axes" in self.attributes:
            lines.append(f"at.axes = axes_mask(&{self.sources[0].name}, axes)")
        lines += ["at.mode = u8(mode)"] * bool(self.of.modes)
        for flag, bit in self.of.flags.items():
            if flag in self.attributes:
                lines.append(f"if {flag} {{ at.flags |= {1 << bit} }}")
        return lines

    # the result

    def same_as(self, result: Operand) -> str | None:
        """The source whose element type a result has."""
        variable = result.type if len(result.type) == 1 else None
        return next((o.name for o in self.sources if o.type == variable and not o.optional), None)

    def _dtype(self, result: Operand) -> str | None:
        """The code of a result's elements, in Kern."""
        if result.type in _CODES:
            return str(_CODES[result.type])
        source = self.same_as(result)
        return source and f"int({source}.dtype)"

    def _usual_dtype(self, result: Operand) -> str:
        """What a further result is made of where the declaration leaves a choice: i64 for indices,
        else the first source's elements."""
        return (
            str(_CODES["i64"]) if result.type == "index" else f"int({self.sources[0].name}.dtype)"
        )

    def _results(self, further: Sequence[Operand], block: str) -> list[str]:
        """Statements that make `out`, and further results where a pointer says."""
        lines = [line for o in self.sources if not o.optional for line in self._bind(o)]
        dtype = "dtype" if self.free_type else self._dtype(self.result)
        if self.free_dims:
            lines.append(f"out = empty({dtype}, dims)")
        else:
            lines += self._shape(self.result, "shape", block)
            lines.append(f"out = empty({dtype}, shape.d[0:shape.n])")
        for o in further:
            lines += self._shape(o, f"{o.name}_shape", block)
            code = self._dtype(o) or self._usual_dtype(o)
            lines.append(f"load_result({o.extra}, {o.name}, {code}, {o.name}_shape, at)")
        wanted = {name for line in lines for name in re.findall(r"\w+", line.split(" = ")[-1])}
        return [x for x in lines if " = " not in x or x.split(" = ")[0] in {*wanted, "out"}]

    def _shape(self, result: Operand, name: str, block: str) -> list[str]:
        """Statements that make the extents of a result."""
        lines = [f"{name}: Dims"]
        for dim in result.dims:
            if dim.many:
                text = dim.text if dim.kind in ("rest", "join") else self._rule(dim.text, block)
                lines.append(f"append(&{name}, {text})")
            else:
                lines.append(f"append_one(&{name}, {_kern(dim.text)})")
        return lines

    def _bind(self, operand: Operand) -> Iterator[str]:
        """Statements that bind the names an operand's extents say."""
        name, items = operand.name, operand.dims
        place = next((i for i, d in enumerate(items) if d.kind == "axis"), None)
        if place is not None:
            yield f"{items[place].axis}_at = axis_of({name}, {items[place].axis})"
            yield f"{items[place].text} = int({name}.dims[{items[place].axis}_at])"
            for dim in items[:place]:
                yield f"{dim.text} = span(&{name}, 0, int({name}.rank) - {items[place].axis}_at)"
            for dim in items[place + 1 :]:
                yield f"{dim.text} = span(&{name}, {items[place].axis}_at + 1, 0)"
            return
        many = next((i for i, d in enumerate(items) if d.many), len(items))
        behind = len(items) - many - 1
        for i, dim in enumerate(items):
            if dim.kind == "one":
                at = str(i) if i < many else f"int({name}.rank) - {len(items) - i}"
                yield f"{dim.text} = int({name}.dims[{at}])"
            elif dim.kind == "rest":
                yield f"{dim.text} = span(&{name}, {many}, {behind})"
            elif dim.kind == "join":
                part = f"span(&{name}, {many}, {behind})"
                first = next(o for o in self.sources for d in o.dims if d.text == dim.text)
                joined = part if first is operand else f"broadcast({dim.text}, {part})"
                yield f"{dim.text} = {joined}"

    def _known(self, dim: Dim) -> bool:
        """Whether the generated code can work an item of the result out."""
        bound = {
            d.text for o in self.sources if not o.optional for d in o.dims
            if d.kind in ("one", "rest", "join", "axis")
        }  # fmt: skip
        if dim.kind == "spread":
            tree = ast.parse(dim.text, mode="eval").body
            return (
                isinstance(tree, ast.Call)
                and isinstance(tree.func, ast.Name)
                and tree.func.id in _RULES
                and all(isinstance(a, ast.Name) for a in tree.args)
                and names_of(dim.text) <= bound | set(self.of.flags) | {"kernel"}
            )
        if dim.kind == "int":
            return _kern(dim.text) is not None and names_of(dim.text) <= bound | {"count"}
        return dim.text in bound

    def _rule(self, text: str, block: str) -> str:
        """A call of a rule as Kern has it."""
        name, _, rest = text.partition("(")
        arguments = rest.rstrip(")")
        match name:
            case "reduced":
                return f"reduced({arguments}, at)"
            case "ones":
                return f"ones_if({arguments})"
        taps = arguments.replace("kernel", "taps_of(at, t)")
        return f"{name}({taps}, {'null' if block == 'null' else 'at'})"


def _kern(expression: str) -> str | None:
    """An integer expression in Kern, if it is of those that Kern has; extents are not negative, so
    division truncates alike."""

    def text(node: ast.expr) -> str | None:
        parts: list[str | None]
        match node:
            case ast.Name(id=name):
                return name
            case ast.Constant(value=value):
                return str(value)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
                parts = [text(left), text(right)]
                form = f"({{}} {_SIGNS[type(op)]} {{}})"
            case ast.IfExp(test=test, body=body, orelse=other):
                parts = [text(test), text(body), text(other)]
                form = "select({} != 0, {}, {})"
            case _:
                return None
        return None if None in parts else form.format(*parts)

    return text(ast.parse(expression, mode="eval").body)


def _number(value: float) -> str:
    """A number as Kern writes it."""
    if value in (float("inf"), float("-inf")):
        return "f32(1.0e999)" if value > 0 else "f32(-1.0e999)"
    return repr(value)
