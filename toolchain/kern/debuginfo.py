"""DWARF for debuggers, as LLVM metadata.

`Metadata` numbers the nodes of a module; `DebugInfo` describes the program by them: a compile
unit a module, a subprogram a function, locals in lexical blocks, globals, and every type with its
layout. LLVM turns this into DWARF 4. Functions have their qualified name as linkage name, which is
what gdb calls them; globals have none, so that gdb finds them by their own. The language is given
as C so that gdb evaluates expressions; a `str` is a struct whose bytes are chars, so that gdb shows
its text.
"""

from __future__ import annotations

from toolchain.kern import typed, types
from toolchain.kern.diagnostics import Place


class Metadata:
    """The numbered metadata nodes of a module; equal ones are one, except distinct ones."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._known: dict[str, str] = {}
        self.add('!{!"branch_weights", i32 1, i32 1048575}')  # !0: checks hardly ever fail

    def add(self, text: str) -> str:
        """The reference of a node with this text."""
        if text not in self._known:
            self._known[text] = self.distinct(text)
        return self._known[text]

    def distinct(self, text: str = "") -> str:
        """The reference of a node of its own; its text may be given later by `define`."""
        self._texts.append(text)
        return f"!{len(self._texts) - 1}"

    def define(self, reference: str, text: str) -> None:
        """Gives a reserved node its text."""
        self._texts[int(reference[1:])] = text

    def lines(self) -> list[str]:
        """The definitions of all nodes."""
        return [f"!{i} = {text}" for i, text in enumerate(self._texts)]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\5C").replace('"', "\\22") + '"'


class DebugInfo:
    """The debug information of one program."""

    def __init__(self, metadata: Metadata, program: typed.Program, optimised: bool) -> None:
        self._metadata = metadata
        self._optimised = optimised
        self._types: dict[types.Type, str] = {}
        self._files: dict[str, str] = {}
        self._units: dict[str, str] = {}
        self._globals: dict[str, list[str]] = {}
        for module, file in program.files.items():
            self._units[module] = metadata.distinct()
            self._globals[module] = []
            self._files[file] = self._file(file)
        self._program = program

    # ── Scopes ───────────────────────────────────────────────────────────────────────────────

    def _file(self, name: str) -> str:
        if name not in self._files:
            text = f'!DIFile(filename: {_quoted(name)}, directory: ".")'
            self._files[name] = self._metadata.add(text)
        return self._files[name]

    def finish(self) -> list[str]:
        """Completes the units; the module's named metadata."""
        for module, unit in self._units.items():
            file = self._file(self._program.files[module])
            variables = self._metadata.add("!{" + ", ".join(self._globals[module]) + "}")
            self._metadata.define(
                unit,
                f'distinct !DICompileUnit(language: DW_LANG_C99, file: {file}, producer: "Kern",'
                f" isOptimized: {str(self._optimised).lower()}, runtimeVersion: 0,"
                f" emissionKind: FullDebug, globals: {variables}, nameTableKind: None)",
            )
        version = self._metadata.add('!{i32 2, !"Dwarf Version", i32 4}')
        info = self._metadata.add('!{i32 2, !"Debug Info Version", i32 3}')
        units = ", ".join(self._units.values())
        return [f"!llvm.dbg.cu = !{{{units}}}", f"!llvm.module.flags = !{{{version}, {info}}}"]

    def subprogram(self, function: typed.Function) -> str:
        """The node of a function that has a body."""
        signature = [
            "null" if function.result in (types.VOID, types.NEVER) else self.type(function.result),
            *(self.variable_type(p) for p in function.parameters),
        ]
        kind = self._metadata.add("!{" + ", ".join(signature) + "}")
        file = self._file(function.place.file)
        flags = "DISPFlagDefinition"
        flags += "" if function.exported else " | DISPFlagLocalToUnit"
        flags += " | DISPFlagOptimized" if self._optimised else ""
        routine = self._metadata.add(f"!DISubroutineType(types: {kind})")
        return self._metadata.distinct(
            f"distinct !DISubprogram(name: {_quoted(function.name)},"
            f" linkageName: {_quoted(function.symbol)}, scope: {file}, file: {file},"
            f" line: {function.place.line}, type: {routine}, scopeLine: {function.place.line},"
            f" flags: DIFlagPrototyped, spFlags: {flags}, unit: {self._units[function.module]})"
        )

    def lexical_block(self, scope: str, place: Place) -> str:
        """A block inside `scope`."""
        return self._metadata.distinct(
            f"distinct !DILexicalBlock(scope: {scope}, file: {self._file(place.file)},"
            f" line: {place.line}, column: {place.column})"
        )

    def location(self, place: Place, scope: str) -> str:
        """A source location."""
        return self._metadata.add(
            f"!DILocation(line: {place.line}, column: {place.column}, scope: {scope})"
        )

    # ── Variables ────────────────────────────────────────────────────────────────────────────

    def variable_type(self, local: typed.Local) -> str:
        """The type of a local as the source sees it."""
        if local.by_reference and isinstance(local.type, types.Ptr) and local.type.target:
            target = self.type(local.type.target)
            return self._metadata.add(
                f"!DIDerivedType(tag: DW_TAG_reference_type, baseType: {target}, size: 64)"
            )
        return self.type(local.type)

    def local(self, local: typed.Local, scope: str, number: int = 0) -> str:
        """The node of a local; `number` counts parameters from 1, 0 is for others."""
        argument = f" arg: {number}," if number else ""
        return self._metadata.distinct(
            f"!DILocalVariable(name: {_quoted(local.name)},{argument} scope: {scope},"
            f" file: {self._file(local.place.file)}, line: {local.place.line},"
            f" type: {self.variable_type(local)})"
        )

    def global_variable(self, variable: typed.Global) -> str:
        """The node to attach to a global variable."""
        unit = self._units[variable.module]
        node = self._metadata.distinct(
            f"distinct !DIGlobalVariable(name: {_quoted(variable.name)},"
            f" scope: {unit}, file: {self._file(variable.place.file)}, line: {variable.place.line},"
            f" type: {self.type(variable.type)}, isLocal: false, isDefinition: true)"
        )
        expression = self._metadata.distinct(
            f"!DIGlobalVariableExpression(var: {node}, expr: !DIExpression())"
        )
        self._globals[variable.module].append(expression)
        return expression

    # ── Types ────────────────────────────────────────────────────────────────────────────────

    def type(self, type_: types.Type) -> str:
        """The node of a type."""
        if type_ not in self._types:
            if isinstance(type_, types.Struct):
                # reserved first, for a struct may point to itself
                self._types[type_] = self._metadata.distinct()
            node = self._describe(type_)
            self._types.setdefault(type_, node)
        return self._types[type_]

    def _describe(self, type_: types.Type) -> str:
        match type_:
            case types.Int(bits=bits, signed=signed):
                return self._basic(type_, bits, "DW_ATE_signed" if signed else "DW_ATE_unsigned")
            case types.Float(bits=bits):
                return self._basic(type_, bits, "DW_ATE_float")
            case types.Bool():
                return self._basic(type_, 8, "DW_ATE_boolean")
            case types.Ptr(target):
                return self._pointer("null" if target is None else self.type(target))
            case types.Fn():
                return self._pointer("null")
            case types.Enum():
                return self._enum(type_)
            case types.Array(element, length):
                return self._array(self.type(element), types.size_of(type_), length)
        return self._struct(type_)

    def _basic(self, type_: types.Type | str, bits: int, encoding: str) -> str:
        name = _quoted(str(type_))
        return self._metadata.add(f"!DIBasicType(name: {name}, size: {bits}, encoding: {encoding})")

    def _pointer(self, target: str) -> str:
        return self._metadata.add(
            f"!DIDerivedType(tag: DW_TAG_pointer_type, baseType: {target}, size: 64)"
        )

    def _array(self, element: str, size: int, length: int) -> str:
        count = self._metadata.add(f"!DISubrange(count: {length})")
        elements = self._metadata.add(f"!{{{count}}}")
        return self._metadata.add(
            f"!DICompositeType(tag: DW_TAG_array_type, baseType: {element},"
            f" size: {size * 8}, elements: {elements})"
        )

    def _enum(self, type_: types.Enum) -> str:
        members = [
            self._metadata.add(f"!DIEnumerator(name: {_quoted(name)}, value: {value})")
            for name, value in type_.members.items()
        ]
        elements = self._metadata.add("!{" + ", ".join(members) + "}")
        return self._metadata.distinct(
            f"!DICompositeType(tag: DW_TAG_enumeration_type, name: {_quoted(type_.name)},"
            f" file: {self._file(type_.file)}, line: {type_.line},"
            f" baseType: {self.type(types.I32)}, size: 32, elements: {elements})"
        )

    def _struct(self, type_: types.Type) -> str:
        node = self._types.get(type_) or self._metadata.distinct()
        place = ""
        if isinstance(type_, types.Struct):
            place = f" file: {self._file(type_.file)}, line: {type_.line},"
        members = [self._member(node, *member) for member in self._members(type_)]
        elements = self._metadata.add("!{" + ", ".join(members) + "}")
        self._metadata.define(
            node,
            f"distinct !DICompositeType(tag: DW_TAG_structure_type, name: {_quoted(str(type_))},"
            f"{place} size: {types.size_of(type_) * 8}, elements: {elements})",
        )
        return node

    def _member(self, scope: str, name: str, type_: str, size: int, offset: int) -> str:
        return self._metadata.add(
            f"!DIDerivedType(tag: DW_TAG_member, name: {_quoted(name)}, scope: {scope},"
            f" baseType: {type_}, size: {size * 8}, offset: {offset * 8})"
        )

    def _members(self, type_: types.Type) -> list[tuple[str, str, int, int]]:
        """Name, type, size and offset of the members of everything that is shown as a struct."""
        match type_:
            case types.Str():
                char = self._basic("char", 8, "DW_ATE_unsigned_char")
                return [("ptr", self._pointer(char), 8, 0), ("len", self.type(types.INT), 8, 8)]
            case types.Slice(element):
                first = self.type(types.Ptr(element))
                return [("ptr", first, 8, 0), ("len", self.type(types.INT), 8, 8)]
            case types.Order(element):
                first, indices = self.type(types.Ptr(element)), self.type(types.Ptr(types.U32))
                length = self.type(types.INT)
                return [("first", first, 8, 0), ("indices", indices, 8, 8), ("len", length, 8, 16)]
        members = types.members_of(type_) or ()
        return [
            (name, self.type(member), types.size_of(member), types.offset_of(type_, i))
            for i, (name, member) in enumerate(zip(_names(type_), members, strict=False))
        ]


def _names(type_: types.Type) -> tuple[str, ...]:
    match type_:
        case types.Struct():
            return tuple(field.name for field in type_.fields)
        case types.Tensor():
            return tuple(types.DESCRIPTOR)
        case types.SlotTable():
            return "elements", "used"
        case types.Queue():
            return "head", "len", "elements"
    return "error", "value"
