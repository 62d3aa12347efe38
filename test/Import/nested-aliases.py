"""Prints IR that is deep in ways that brackets do not show, or only show in bytecode: nested-aliases.py KIND"""
import sys

FUNCTION = """func.func @f(%x: tensor<4xf32> {moe.name = "x"}) -> (tensor<4xf32> {moe.name = "y"}) {
  return %x : tensor<4xf32>
}
"""


def module(attribute, aliases=()):
    return "".join(aliases) + "module attributes {builtin.x = " + attribute + "} {\n" + FUNCTION + "}\n"


kind = sys.argv[1]
if kind == "deep":
    print(module("#a100000", ["#a0 = [1]\n"] + [f"#a{i + 1} = [#a{i}]\n" for i in range(100000)]))
elif kind == "wide":
    print(module("#a40", ["#a0 = [1]\n"] + [f"#a{i + 1} = [#a{i}, #a{i}]\n" for i in range(40)]))
elif kind == "regions":
    depth = 300
    print(FUNCTION.replace("  return", "  %t = arith.constant true\n" + "scf.if %t {\n" * depth + "}\n" * depth + "  return"))
elif kind == "text":
    print(module("#other.thing<" + "<" * 300 + ">" * 300 + ">"))
