"""Types out of DWARF: each type's entry becomes one `types.Type`, made once."""

from __future__ import annotations

from typing import Any

from toolchain.debug import types

_SIGNED = (5, 6, 0x0D)  # DW_ATE_signed, signed_char, signed_fixed


class TypeReader:
    """Reads types and remembers them by their entries' offsets; `by_name` finds structs, enums and
    basic types as the source calls them."""

    def __init__(self) -> None:
        self._known: dict[int, types.Type] = {}
        self.by_name: dict[str, types.Type] = {}

    def of(self, die: Any) -> types.Type:
        """The type that the DW_AT_type of a variable, field or function names."""
        if "DW_AT_type" not in die.attributes:
            return types.ADDRESS
        return self.read(die.get_DIE_from_attribute("DW_AT_type"))

    def read(self, die: Any) -> types.Type:
        """The type that an entry describes."""
        known = self._known.get(die.offset)
        if known is not None:
            return known
        made = self._struct(die) if die.tag == "DW_TAG_structure_type" else self._make(die)
        self._known[die.offset] = made
        if made.name:
            self.by_name.setdefault(made.name, made)
        return made

    def _make(self, die: Any) -> types.Type:
        name, size = _name(die), _number(die, "DW_AT_byte_size")
        match die.tag:
            case "DW_TAG_base_type":
                return _basic(name, size, _number(die, "DW_AT_encoding"))
            case "DW_TAG_enumeration_type":
                members = {
                    _number(child, "DW_AT_const_value"): _name(child)
                    for child in die.iter_children()
                    if child.tag == "DW_TAG_enumerator"
                }
                return types.Enum(name, size, members)
            case "DW_TAG_pointer_type":
                has_target = "DW_AT_type" in die.attributes
                return types.pointer_to(self.of(die) if has_target else None)
            case "DW_TAG_reference_type":
                target = self.of(die)
                return types.Reference(target.name, types.POINTER_SIZE, target)
            case "DW_TAG_array_type":
                return self._array(die)
        if "DW_AT_type" in die.attributes:  # a typedef or a qualifier, from C
            return self.of(die)
        return types.Int(name or "unknown", size or 1, signed=False)

    def _array(self, die: Any) -> types.Type:
        made = self.of(die)
        counts = [
            _number(child, "DW_AT_count") or _number(child, "DW_AT_upper_bound") + 1
            for child in die.iter_children()
            if child.tag == "DW_TAG_subrange_type"
        ]
        for count in reversed(counts):
            made = types.Array(f"array[{made.name}, {count}]", made.size * count, made, count)
        return made

    def _struct(self, die: Any) -> types.Type:
        made = types.Struct(_name(die), _number(die, "DW_AT_byte_size"))
        self._known[die.offset] = made
        for child in die.iter_children():
            if child.tag == "DW_TAG_member":
                offset = _number(child, "DW_AT_data_member_location")
                made.fields[_name(child)] = types.Field(_name(child), self.of(child), offset)
        return made


def _basic(name: str, size: int, encoding: int) -> types.Type:
    match encoding:
        case 2:  # DW_ATE_boolean
            return types.Bool(name, size)
        case 4:  # DW_ATE_float
            return types.Float(name, size)
        case 8:  # DW_ATE_unsigned_char
            return types.Char(name, size)
    return types.Int(name, size, signed=encoding in _SIGNED)


def _name(die: Any) -> str:
    found = die.attributes.get("DW_AT_name")
    return found.value.decode("utf-8", "replace") if found else ""


def _number(die: Any, attribute: str) -> int:
    found = die.attributes.get(attribute)
    return found.value if found and isinstance(found.value, int) else 0
