"""Traversal: children, rewriting that keeps identity and sharing, structural comparison."""

from __future__ import annotations

from tilewright.ir import arith
from tilewright.ir.arith import const
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32, float64, int64
from tilewright.ir.expr import Add, Const, Expr, Load, Mul, Select, Var
from tilewright.ir.stmt import For, If, Let, Seq, Store
from tilewright.ir.visit import Node, children, free_vars, map_children, rewrite, same, substitute, walk, with_fields

i, j, n = (Var(name) for name in "ijn")
A = Buffer("A", (const(8), const(8)), float32)
B = Buffer("B", (const(8), const(8)), float32)


def test_children_come_in_order_without_variables_that_are_bound() -> None:
    body, condition = Store(A, (i, j), const(1.0)), i < j
    assert list(children(body)) == [i, j, body.value]
    assert list(children(If(condition, body))) == [condition, body]
    assert list(children(If(condition, body, body))) == [condition, body, body]
    assert list(children(For(i, n, body))) == [n, body]
    assert list(children(Seq((body, body)))) == [body, body]
    assert list(children(i)) == []


def test_walk_gives_parents_first_and_shared_nodes_once() -> None:
    shared = i + 1
    expr = Mul(shared, shared)
    assert list(walk(expr)) == [expr, shared, i, shared.b]  # type: ignore[attr-defined]


def test_rewrite_gives_the_same_object_where_nothing_changed() -> None:
    nest = For(i, n, Seq((Store(A, (i, j), Load(A, (j, i)) + 1.0), If(i < j, Store(A, (i, i), const(0.0))))))
    assert rewrite(nest, lambda node: None) is nest
    assert rewrite(nest, lambda node: node) is nest


def test_rewrite_rebuilds_only_the_path_to_a_change() -> None:
    left, right = Store(A, (i, j), const(1.0)), Store(B, (i, n), const(1.0))
    found = rewrite(Seq((left, right)), lambda node: const(3) if node is n else None)
    assert found.body[0] is left
    assert same(found.body[1], Store(B, (i, const(3)), const(1.0)))


def test_rewrite_applies_the_rule_to_rewritten_children() -> None:
    def fold(node: Node) -> Node | None:
        match node:
            case Add(Const(a), Const(b)):
                return const(a + b)
        return None

    assert same(rewrite(Add(Add(const(1), const(2)), Add(const(3), const(4))), fold), const(10))


def test_rewrite_visits_a_shared_node_once_and_keeps_it_shared() -> None:
    visits: list[Node] = []

    def rule(node: Node) -> Node | None:
        visits.append(node)
        return j if node is i else None

    shared = Add(i, const(1))
    found = rewrite(Mul(shared, shared), rule)
    assert found.a is found.b
    assert len(visits) == 4


def test_rewrite_of_a_deeply_shared_expression_takes_no_exponential_time() -> None:
    expr: Expr = i
    for _ in range(100):
        expr = Add(expr, expr)
    found = rewrite(expr, lambda node: j if node is i else None)
    assert free_vars(found) == [j]


def test_a_memo_is_shared_between_calls() -> None:
    visits: list[Node] = []
    memo: dict = {}
    shared = i + 1
    for expr in (shared * 2, shared * 3):
        rewrite(expr, lambda node: visits.append(node), memo)  # type: ignore[func-returns-value]
    assert visits.count(shared) == 1


def test_map_children_changes_single_children_and_tuples() -> None:
    access = Load(A, (i, j))
    assert map_children(access, lambda child: child) is access
    assert same(map_children(access, lambda child: n if child is j else child), Load(A, (i, n)))
    branch = If(i < j, Seq(()))
    assert map_children(branch, lambda child: child) is branch


def test_with_fields_replaces_what_it_is_given() -> None:
    loop = with_fields(For(i, n, Seq(())), {"extent": const(4)})
    assert same(loop, For(i, const(4), Seq(())))


def test_substitute_puts_expressions_in_place_of_variables_at_once() -> None:
    assert same(substitute(i + j, {i: j, j: i}), j + i)
    expr = i + j
    assert substitute(expr, {}) is expr
    assert substitute(expr, {n: i}) is expr


def test_free_variables_are_those_no_loop_or_let_binds() -> None:
    nest = For(i, n, Let(j, i + 1, Store(A, (i, j), const(1.0))))
    assert free_vars(nest) == [n]
    assert free_vars(j + i + j) == [j, i]


def test_same_compares_structure_and_variables_by_identity() -> None:
    assert same((i + 1) * j, (i + 1) * j)
    assert not same(i + 1, Var("i") + 1)
    assert not same(Add(i, j), Add(j, i))
    assert not same(Add(i, j), Mul(i, j))
    assert not same(Load(A, (i, j)), Load(B, (i, j)))
    assert same((i, j), (i, j)) and not same((i, j), (i, j, j))
    assert same(If(i < j, Seq(())), If(i < j, Seq(()), None))


def test_same_tells_literals_apart_by_type_and_by_sign_of_zero() -> None:
    assert not same(const(1), const(True))
    assert not same(const(1), const(1, int64))
    assert not same(const(1.0), const(1.0, float64))
    assert not same(const(0.0), const(-0.0))
    assert same(const(float("nan")), const(float("nan")))


def test_same_on_shared_expressions_built_apart_takes_no_exponential_time() -> None:
    def tower() -> Expr:
        expr: Expr = i
        for _ in range(100):
            expr = Add(expr, expr)
        return expr

    assert same(tower(), tower())
    assert not same(tower(), arith.add(tower(), 1))


def test_a_select_keeps_its_parts_apart() -> None:
    assert not same(Select(i < j, i, j), Select(i < j, j, i))
