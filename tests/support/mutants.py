"""Mutants: small changes of a module's source that a good test notices. Pure functions on source text."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
# The type checker notices changes of these fields; tests do not.
_SKIPPED_FIELDS = frozenset({"annotation", "returns", "decorator_list", "bases"})
# Tests do not check single log lines.
_LOGGERS = frozenset({"log", "logger", "logging"})


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        line: its line in the unchanged source.
        before, after: the changed expression or statement.
        key: identifies the change of a function; stays the same if other code of the module changes.
        slot: the number of the changed node in the syntax tree.
    """

    line: int
    before: str
    after: str
    key: str
    slot: int


@dataclass(frozen=True)
class _Slot:
    """A place in a syntax tree that holds a node."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    function: str

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its source. `module` is its path; keys contain it."""
    found: list[Mutant] = []
    seen: dict[str, int] = {}
    for number, slot in enumerate(_slots(ast.parse(source))):
        for replacement in _replacements(slot.node):
            before, after = ast.unparse(slot.node), ast.unparse(replacement)
            what = f"{module}:{slot.function}: {before} -> {after}"
            seen[what] = seen.get(what, 0) + 1
            found.append(
                Mutant(
                    line=getattr(slot.node, "lineno", 0),
                    before=before,
                    after=after,
                    key=f"{what} #{seen[what]}",
                    slot=number,
                )
            )
    return found


def mutated(source: str, mutant: Mutant) -> str:
    """The source of the module with the change. Comments are lost."""
    tree = ast.parse(source)
    slot = list(_slots(tree))[mutant.slot]
    slot.put(next(node for node in _replacements(slot.node) if ast.unparse(node) == mutant.after))
    return ast.unparse(ast.fix_missing_locations(tree))


def sample(found: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """`count` mutants, chosen by key and seed, so that revisions with the same code have the same sample."""

    def rank(mutant: Mutant) -> str:
        return hashlib.sha256(f"{seed} {mutant.key}".encode()).hexdigest()

    return sorted(found, key=rank)[:count]


def _slots(node: ast.AST, function: str = "module") -> Iterator[_Slot]:
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED_FIELDS:
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST):
                continue
            inside = (
                f"{function}.{child.name}"
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                else function
            )
            yield _Slot(node, field, index if isinstance(value, list) else None, child, function)
            yield from _slots(child, inside)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=comparators) if type(op) in _COMPARISONS:
            yield ast.Compare(left, [_COMPARISONS[type(op)]()], comparators)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.If(test=test, body=body, orelse=orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test=test, body=chosen, orelse=other):
            yield ast.IfExp(test, other, chosen)
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Raise():
            yield ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Await() as value) if not _logs(value):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _logs(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
            return name in _LOGGERS
        case _:
            return False
