"""The config that a checkpoint was trained with."""

from __future__ import annotations

import ast


def read_saved_config(text: str) -> dict:
    """Variables of the config text that mmengine saves in a checkpoint, ``meta['cfg']``.

    It is made of literals and ``dict(...)`` calls. They are parsed, never run, since a
    checkpoint may come from anywhere; variables with anything else in them are left out.

    Raises:
        ValueError: if it is no Python.
    """
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise ValueError(f'the saved config cannot be read ({error})') from error
    variables = {}
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    variables[name] = ast.literal_eval(_DictCalls().visit(value))
                except ValueError:
                    continue
    return variables


class _DictCalls(ast.NodeTransformer):
    """``dict(a=1)`` -> ``{'a': 1}``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as display], keywords=[]):
                return display  # where a key is no identifier
            case ast.Call(func=ast.Name(id='dict'), args=[]):
                keys = [ast.Constant(keyword.arg) for keyword in node.keywords]
                return ast.Dict(keys, [keyword.value for keyword in node.keywords])
        return node
