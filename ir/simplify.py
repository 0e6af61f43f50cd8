"""Expressions and statements made simpler, with what is known of the variables at each place.

Index arithmetic goes through its integer-linear form (`ir.affine`) and comes back in canonical order, so that equal
indices print equal; quotients, remainders, extrema and comparisons that ranges decide disappear.  Values from memory,
floats and narrow integers keep their shape and only meet the identities of `ir.rules`.  What a loop, an `if` or the
first half of an `and` says is known inside it.  Rules on indices hold under the assumption stated in `ir.affine`.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from math import gcd
from typing import Any, TypeVar

from . import arith
from .affine import Normaliser, affine_of, reads_memory
from .division import floordiv, floormod, maximum, minimum, product, recombined
from .dtype import DType, boolean
from .expr import (
    Add,
    And,
    Cast,
    Const,
    Eq,
    Expr,
    FloorDiv,
    FloorMod,
    IfThenElse,
    Le,
    Lt,
    Max,
    Min,
    Mul,
    Ne,
    Not,
    Or,
    Sub,
    Var,
)
from .interval import Interval, Known, Ranges
from .linear import Affine, Atom, Opaque, is_index, of_atom
from .prover import Prover, negated
from .rules import apply
from .stmt import Allocate, Evaluate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from .visit import map_children, same, walk, with_fields

N = TypeVar("N", Expr, Stmt)

NOTHING = Seq(())


def simplify(node: N, ranges: Ranges | None = None, settled: Set[int] = frozenset()) -> N:
    """Give an expression or statement of the same meaning; the same object where nothing changes.

    ranges   where variables lie that no loop inside `node` binds
    settled  identities of what is below `node` and is left as it is, for it is simple already
    A statement that does nothing becomes an empty `Seq`.
    """
    return _Simplifier(Known(ranges or {}), {}, _shape_vars(node), settled).visit(node)


def simplifier(ranges: Ranges) -> Callable[[Expr], Expr]:
    """Give a function that simplifies expressions as `simplify` does, and remembers what it has worked out.

    ranges  where variables lie; ranges of further variables may be added between calls, none may change
    """
    return _Simplifier(Known(ranges), {}, frozenset()).expr


def _shape_vars(node: Expr | Stmt) -> frozenset[Var]:
    """Give the variables that shapes of allocated buffers depend on: buffers are not rewritten."""
    found: set[Var] = set()
    stack = [node] if issubclass(type(node), Stmt) else []
    while stack:
        here: Any = stack.pop()
        if type(here) is Allocate:
            sizes = (*here.buffer.shape, *(here.buffer.strides or ()))
            found.update(v for size in sizes for v in walk(size) if type(v) is Var)
        stack += [part for name in ("body", "then", "otherwise") for part in _parts(getattr(here, name, None))]
    return frozenset(found)


def _parts(value: Any) -> tuple[Stmt, ...]:
    if value is None:
        return ()
    return value if type(value) is tuple else (value,)


class _Simplifier:
    """Simplifies within one place of a program.

    known   what holds there
    values  variables that stand for something simpler
    pinned  variables that must stay
    settled identities of nodes that are simple already, as long as no variable stands for something else
    """

    __slots__ = ("atoms", "forms", "known", "memo", "pinned", "prover", "settled", "values")

    def __init__(
        self,
        known: Known,
        values: dict[Var, Expr],
        pinned: frozenset[Var],
        settled: Set[int] = frozenset(),
        forms: Normaliser | None = None,
    ) -> None:
        self.known = known
        self.values = values
        self.pinned = pinned
        self.settled = settled
        self.prover = Prover(known)
        self.memo: dict[int, tuple[Expr, Expr]] = {}
        self.atoms: dict[Atom, Affine | None] = {}
        self.forms = forms or Normaliser()  # a form is the same at every place

    def inside(self, known: Known) -> _Simplifier:
        """Give the simplifier for a place where more is known."""
        return self if known is self.known else _Simplifier(known, self.values, self.pinned, self.settled, self.forms)

    def assuming(self, condition: Expr | None) -> _Simplifier:
        """Give the simplifier for a place where a condition holds."""
        return self if condition is None else self.inside(self.known.assume(condition))

    def visit(self, node: Any) -> Any:
        """Simplify an expression or a statement."""
        rule = _STATEMENTS.get(type(node))
        if rule is None:
            return self.expr(node)
        return node if self._is_settled(node) else rule(self, node)

    def _is_settled(self, node: Expr | Stmt) -> bool:
        return id(node) in self.settled and not self.values

    # ------------------------------------------------------------ expressions

    def expr(self, node: Expr) -> Expr:
        """Simplify an expression."""
        cls = type(node)
        if cls is Const or self._is_settled(node):
            return node
        found = self.memo.get(id(node))
        if found is not None:
            return found[1]
        if cls in _INDEX and is_index(node.dtype) and not reads_memory(node):
            result = self.index(node)
        else:
            rule = _EXPRESSIONS.get(cls)
            result = self.plain(node) if rule is None else rule(self, node)
            if cls in _STRONGER and result is not node and reads_memory(node) and not reads_memory(result):
                result = self.expr(result)  # what was read has cancelled
        if result is not node and same(result, node):
            result = node
        self.memo[id(node)] = (node, result)
        self.memo[id(result)] = (result, result)
        return result

    def index(self, node: Expr) -> Expr:
        """Simplify index arithmetic."""
        if type(node) is Var and node not in self.values and self._point(node) is None:
            return node
        return self.refined(self.forms.affine(node)).to_expr(node.dtype)

    def plain(self, node: Any) -> Expr:
        """Simplify the operands, fold literals, and apply the identities that hold for all types."""
        if type(node) is Var:
            return self.values.get(node, node)
        changed: Any = map_children(node, self.expr)
        build = _FOLDED.get(type(changed))
        if build is not None and not _divides_by_0(changed):
            folded: Any = build(changed.a, changed.b)
            if type(folded) is not type(changed) or folded.a is not changed.a or folded.b is not changed.b:
                return folded
        return self._by_rule(changed)

    def _by_rule(self, node: Expr) -> Expr:
        result = apply(node)
        return node if result is None else self.expr(result)

    def cast(self, node: Cast) -> Expr:
        """Simplify a conversion."""
        changed: Any = map_children(node, self.expr)
        if type(changed.value) is Const:
            folded = arith.cast(changed.dtype, changed.value)
            if type(folded) is Const:
                return folded
        return self._by_rule(changed)

    def conjunction(self, node: And) -> Expr:
        """Simplify `a and b`, b knowing a."""
        a = self.expr(node.a)
        b = self.assuming(a).expr(node.b)
        changed = node if a is node.a and b is node.b else And(a, b)
        return self._by_rule(changed)

    def disjunction(self, node: Or) -> Expr:
        """Simplify `a or b`, b knowing that a fails."""
        a = self.expr(node.a)
        b = self.assuming(negated(a)).expr(node.b)
        changed = node if a is node.a and b is node.b else Or(a, b)
        if self.prover.proves(changed):
            return Const(True, boolean)
        return self._by_rule(changed)

    def guarded(self, node: IfThenElse) -> Expr:
        """Simplify a choice of which one branch is evaluated, knowing the condition."""
        condition = self.expr(node.condition)
        if type(condition) is Const:
            return self.expr(node.then if condition.value else node.otherwise)
        then = self.assuming(condition).expr(node.then)
        otherwise = self.assuming(negated(condition)).expr(node.otherwise)
        changed = IfThenElse(condition, then, otherwise)
        return self._by_rule(changed)

    # ------------------------------------------------------------ comparisons

    def comparison(self, node: Any) -> Expr:
        """Decide a comparison, or give it in canonical form: `i < 8`, `1 <= i`, `a + 2 < b`."""
        if not is_index(node.a.dtype) or reads_memory(node):
            result = self.plain(node)
            if type(result) in _COMPARED and self.prover.proves(result):
                return Const(True, boolean)
            opposite = negated(result) if type(result) in _COMPARED else None
            if opposite is not None and self.prover.proves(opposite):
                return Const(False, boolean)
            return result
        form = self.refined(self.forms.affine(Sub(node.b, node.a)))
        dtype = node.a.dtype
        if type(node) in (Lt, Le):
            return self._inequality(form - 1 if type(node) is Lt else form, dtype)
        return self._equation(form, type(node), dtype)

    def _inequality(self, form: Affine, dtype: DType) -> Expr:
        """Give `form >= 0` with negative terms on the left and positive ones on the right."""
        if self.prover.proves_at_least_0(form):
            return Const(True, boolean)
        if self.prover.proves_at_least_0(-form - 1):
            return Const(False, boolean)
        g = gcd(*form.terms.values())
        left, right = _sides(form, g)
        k = form.constant // g
        if not right.terms:
            return Lt(left.to_expr(dtype), arith.const(k + 1, dtype))
        if not left.terms:
            return Le(arith.const(-k, dtype), right.to_expr(dtype))
        if k == 0:
            return Le(left.to_expr(dtype), right.to_expr(dtype))
        return Lt((left + max(0, -k - 1)).to_expr(dtype), (right + max(0, k + 1)).to_expr(dtype))

    def _equation(self, form: Affine, cls: type, dtype: DType) -> Expr:
        """Give `form == 0` or `form != 0` with the leading term on the left."""
        equal, unequal = Const(cls is Eq, boolean), Const(cls is Ne, boolean)
        if not form.terms:
            return unequal if form.constant else equal
        g = gcd(*form.terms.values())
        if form.constant % g or self.prover.proves_never_0(form, dtype):
            return unequal
        if self.prover.proves_0(form, dtype):
            return equal
        if form.leading > 0:
            form = -form
        left, right = _sides(form, g)
        k = form.constant // g
        result = cls((left + max(0, -k)).to_expr(dtype), (right + max(0, k)).to_expr(dtype))
        return Const(True, boolean) if self.prover.is_given(result) else result

    # ------------------------------------------------------------ integer-linear forms

    def refined(self, form: Affine) -> Affine:
        """Give an equal form with atoms that are known better replaced."""
        total: Affine | None = None
        for mono, c in form.terms.items():
            news = [self._better(atom) for atom in mono]
            if any(new is not None for new in news):
                part = Affine({}, c)
                for atom, new in zip(mono, news, strict=True):
                    part = part * (of_atom(atom) if new is None else new)
                total = (form if total is None else total) - Affine({mono: c}) + part
        return form if total is None else recombined(total)

    def _better(self, atom: Atom) -> Affine | None:
        """Give the form that replaces an atom, or None."""
        if atom not in self.atoms:
            self.atoms[atom] = None  # should what replaces it hold it again
            self.atoms[atom] = self._replaced(atom)
        return self.atoms[atom]

    def _replaced(self, atom: Atom) -> Affine | None:
        if type(atom) is not Opaque:
            value = self.values.get(atom)
            if value is not None:
                return self.refined(self.forms.affine(value))
            point = self._point(atom)
            return None if point is None else Affine({}, point)
        result = self._rebuilt(atom)
        if result.is_atom == atom:
            decide = _DECISIONS.get(atom.op)
            decided = None if decide is None or atom.node is not None else decide(self, atom)
            if decided is None:
                return None
            result = decided
        return self.refined(result)

    def _rebuilt(self, atom: Opaque) -> Affine:
        """Give an opaque atom with its operands refined."""
        combine = _COMBINE.get(atom.op)
        if combine is not None and atom.node is None:
            operands = [self.refined(a) for a in atom.operands]
            if all(new is old for new, old in zip(operands, atom.operands, strict=True)):
                return of_atom(atom)
            return combine(*operands)
        node: Any = atom.node
        rule = _EXPRESSIONS.get(atom.op)
        changed = self.plain(node) if rule is None else rule(self, node)
        return of_atom(atom) if changed is node or same(changed, node) else self.forms.affine(changed)

    def _point(self, var: Var) -> int | None:
        """Give the only value in the range of a variable."""
        span = self.prover.span_of(var) if var in self.known.ranges else None
        return span[0] if span is not None and span[0] is not None and span[0] == span[1] else None

    def _quotient(self, atom: Opaque) -> Affine | None:
        """(x // d) where x stays within one period; (g*x + s) // (g*d) = (x + s//g) // d where s stays within one."""
        low, high = self.prover.span(of_atom(atom))
        if low is not None and low == high:
            return Affine({}, low)
        parts = self._strided(atom)
        if parts is None:
            return None
        x, d, _, _ = parts
        return floordiv(x, d)

    def _remainder(self, atom: Opaque) -> Affine | None:
        """x % d = x - q*d where x // d = q; (g*x + s) % (g*d) = g * ((x + q) % d) + s - g*q where s // g = q."""
        x, d = atom.operands
        quotient = Opaque(FloorDiv, (x, d), (x, d), data=atom.data)
        low, high = self.prover.span(of_atom(quotient))
        if low is not None and low == high:
            return x - d * low
        parts = self._strided(atom)
        if parts is None:
            return None
        x, d, g, rest = parts
        return floormod(x, d) * g + rest

    def _strided(self, atom: Opaque) -> tuple[Affine, Affine, int, Affine] | None:
        """For x and d with x = g*y + s and s // g = q always: give (y + q, d / g, g, s - g*q)."""
        x, d = atom.operands
        if d.terms or d.constant <= 1 or len(x.terms) < 2 or x.data:
            return None
        for g in sorted({gcd(c, d.constant) for c in x.terms.values()} - {1}, reverse=True):
            rest = Affine({m: c for m, c in x.terms.items() if c % g}, x.constant)
            low, high = self.prover.span(rest)
            if low is not None and high is not None and low // g == high // g:
                step = low // g
                y = Affine({m: c // g for m, c in x.terms.items() if not c % g}, step)
                return y, Affine({}, d.constant // g), g, rest - g * step
        return None

    def _extremum(self, atom: Opaque) -> Affine | None:
        """min(a, b) = a where a <= b."""
        if atom.data:
            return None
        a, b = atom.operands if atom.op is Min else reversed(atom.operands)
        if self.prover.proves_at_least_0(b - a):
            return atom.operands[0]
        return atom.operands[1] if self.prover.proves_at_least_0(a - b) else None

    # ------------------------------------------------------------ statements

    def loop(self, node: For) -> Stmt:
        """Simplify a loop; one of no steps disappears, one of one step is its body."""
        extent = self.expr(node.extent)
        form = affine_of(extent)
        low, high = self.prover.span(form)
        if high is not None and high <= 0:
            return NOTHING
        if low == high == 1 and self._may_vanish(node):
            self.values[node.var] = Const(0, node.var.dtype)
            return self.visit(node.body)
        known = self.known.within(node.var, Interval(Const(0), (form - 1).to_expr(extent.dtype)))
        if form.terms and not form.data:
            known = known.assume(Le(Const(1, extent.dtype), extent))
        body = self.inside(known).visit(node.body)
        if _is_nothing(body):
            return NOTHING
        return _rebuilt(node, extent=extent, body=body)

    def _may_vanish(self, node: For) -> bool:
        """Tell whether a loop of one step may be left out: a thread axis or a pragma says more than its steps."""
        return node.kind is not ForKind.THREAD and not node.annotations and node.var not in self.pinned

    def branch(self, node: If) -> Stmt:
        """Simplify a conditional, each branch knowing the condition."""
        condition = self.expr(node.condition)
        if type(condition) is Const:
            if condition.value:
                return self.visit(node.then)
            return NOTHING if node.otherwise is None else self.visit(node.otherwise)
        then = self.assuming(condition).visit(node.then)
        otherwise = None
        if node.otherwise is not None:
            otherwise = self.assuming(negated(condition)).visit(node.otherwise)
        if otherwise is not None and _is_nothing(otherwise):
            otherwise = None
        if _is_nothing(then):
            return NOTHING if otherwise is None else If(self.expr(Not(condition)), otherwise)
        return _rebuilt(node, condition=condition, then=then, otherwise=otherwise)

    def let(self, node: Let) -> Stmt:
        """Simplify a binding; one of a literal or of a variable disappears."""
        value = self.expr(node.value)
        if type(value) in (Const, Var) and node.var not in self.pinned:
            self.values[node.var] = value
            return self.visit(node.body)
        known = self.known
        if is_index(value.dtype) and not reads_memory(value):
            known = known.within(node.var, Interval(value, value))
        body = self.inside(known).visit(node.body)
        return NOTHING if _is_nothing(body) else _rebuilt(node, value=value, body=body)

    def sequence(self, node: Seq) -> Stmt:
        """Simplify statements in order, without those that do nothing."""
        parts = [self.visit(part) for part in node.body]
        kept = [part for part in parts if not _is_nothing(part)]
        unchanged = len(kept) == len(node.body) and all(a is b for a, b in zip(kept, node.body, strict=True))
        if unchanged and len(kept) != 1 and not any(type(part) is Seq for part in kept):
            return node
        return seq(*kept)

    def scope(self, node: Allocate) -> Stmt:
        """Simplify the body of an allocation."""
        body = self.visit(node.body)
        return NOTHING if _is_nothing(body) else _rebuilt(node, body=body)

    def store(self, node: Store) -> Stmt:
        """Simplify the indices and the value of a store."""
        return map_children(node, self.expr)

    def effect(self, node: Evaluate) -> Stmt:
        """Simplify a call; a literal does nothing."""
        value = self.expr(node.value)
        return NOTHING if type(value) is Const else _rebuilt(node, value=value)


def _is_nothing(stmt: Stmt) -> bool:
    return type(stmt) is Seq and not stmt.body


def _rebuilt(node: Any, **parts: Any) -> Stmt:
    """Give `node` with these fields; itself if they are the ones it has."""
    return node if all(getattr(node, name) is part for name, part in parts.items()) else with_fields(node, parts)


def _sides(form: Affine, g: int) -> tuple[Affine, Affine]:
    """Give the negative terms, negated, and the positive terms of form / g, without the constant."""
    left = {m: -c // g for m, c in form.terms.items() if c < 0}
    right = {m: c // g for m, c in form.terms.items() if c > 0}
    return Affine(left, 0), Affine(right, 0)


def _divides_by_0(node: Any) -> bool:
    return type(node) in (FloorDiv, FloorMod) and type(node.b) is Const and node.b.value == 0


_INDEX = frozenset({Var, Add, Sub, Mul, FloorDiv, FloorMod, Min, Max, Cast})
_COMPARED = frozenset({Lt, Le, Eq, Ne})
_STRONGER = _INDEX | _COMPARED  # more is done to these where they do not read memory
_COMBINE: dict[type, Callable[..., Affine]] = {
    FloorDiv: floordiv,
    FloorMod: floormod,
    Min: minimum,
    Max: maximum,
    Mul: product,
}
_DECISIONS: dict[type, Callable[[_Simplifier, Opaque], Affine | None]] = {
    FloorDiv: _Simplifier._quotient,
    FloorMod: _Simplifier._remainder,
    Min: _Simplifier._extremum,
    Max: _Simplifier._extremum,
}
_FOLDED: dict[type, Callable[[Any, Any], Expr]] = {
    Add: arith.add,
    Sub: arith.sub,
    Mul: arith.mul,
    FloorDiv: arith.floordiv,
    FloorMod: arith.floormod,
    Min: arith.minimum,
    Max: arith.maximum,
    Lt: arith.lt,
    Le: arith.le,
    Eq: arith.eq,
    Ne: arith.ne,
}
_EXPRESSIONS: dict[type, Callable[[_Simplifier, Any], Expr]] = {
    Lt: _Simplifier.comparison,
    Le: _Simplifier.comparison,
    Eq: _Simplifier.comparison,
    Ne: _Simplifier.comparison,
    And: _Simplifier.conjunction,
    Or: _Simplifier.disjunction,
    IfThenElse: _Simplifier.guarded,
    Cast: _Simplifier.cast,
}
_STATEMENTS: dict[type, Callable[[_Simplifier, Any], Stmt]] = {
    For: _Simplifier.loop,
    If: _Simplifier.branch,
    Let: _Simplifier.let,
    Seq: _Simplifier.sequence,
    Allocate: _Simplifier.scope,
    Store: _Simplifier.store,
    Evaluate: _Simplifier.effect,
}
