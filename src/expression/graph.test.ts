import { describe, expect, it } from "vitest";
import type { Graph } from "./graph.ts";
import { buildGraph, functionsOf, variablesOf } from "./graph.ts";
import { UNLIMITED } from "./limits.ts";
import { parse } from "./parser.ts";

type Predicate = (name: string) => boolean;

const all: Predicate = () => true;
const none: Predicate = () => false;

const graphOf = (text: string, variables: Record<string, string> = {}, deterministic = none): Graph =>
  buildGraph(parse(text, UNLIMITED), new Map(Object.entries(variables)), deterministic);

const callsOf = (graph: Graph): unknown[] => graph.calls.map(({ seq, fn, operands }) => [seq, fn, ...operands]);

describe("buildGraph", () => {
  it("maps operators to functions and numbers the calls in the order in which they are completed", () => {
    const graph = graphOf("(3+5)*(4/2)-f(1,'x')");
    expect(callsOf(graph)).toEqual([
      [1, "add", "3", "5"],
      [2, "divide", "4", "2"],
      [3, "multiply", 1, 2],
      [4, "f", "1", '"x"'],
      [5, "subtract", 3, 4],
    ]);
    expect(graph.root).toBe(5);
  });

  it("makes the minus of anything but a literal a subtraction from 0", () => {
    expect(callsOf(graphOf("-a*-2", { a: "7" }))).toEqual([
      [1, "subtract", "0", "7"],
      [2, "multiply", 1, "-2"],
    ]);
    expect(callsOf(graphOf("-'a'"))).toEqual([[1, "subtract", "0", '"a"']]);
  });

  it("writes literals as the shortest JSON of their value", () => {
    expect(callsOf(graphOf(String.raw`f(1.50, 1e21, -0, 'a"\ud800')`))).toEqual([[1, "f", "1.5", "1e+21", "0", String.raw`"a\"\ud800"`]]);
  });

  it.each([
    ["42", {}, "42"],
    ["-(4)", {}, "-4"],
    ["'a'", {}, '"a"'],
    ["((v))", { v: '{"k":[1]}' }, '{"k":[1]}'],
  ])("needs no call for the constant %s", (text, variables, root) => {
    expect(graphOf(text, variables as Record<string, string>)).toEqual({ calls: [], root });
  });

  it("keeps the span and position of each call", () => {
    const text = "2 * (a - 1)";
    const spans = graphOf(text, { a: "1" }).calls.map(({ start, end, position }) => [text.slice(start, end), text[position]]);
    expect(spans).toEqual([
      ["(a - 1)", "-"],
      [text, "*"],
    ]);
  });

  it.each([
    ["1+missing", "missing", 2],
    ["f(a, toString)", "toString", 5],
    ["b+c", "b", 0],
  ])("refuses a variable without a value: %s", (text, name, position) => {
    expect(() => graphOf(text, { a: "1" })).toThrow(
      expect.objectContaining({
        code: "UNKNOWN_VARIABLE",
        message: `variable "${name}" at column ${position + 1} was given no value`,
        details: { name, position },
      }),
    );
  });
});

describe("sharing", () => {
  it("makes identical calls of deterministic functions one, at the place of the first", () => {
    const graph = graphOf("(a+b)*(a+b)-(a+b)", { a: "1", b: "2" }, all);
    expect(callsOf(graph)).toEqual([
      [1, "add", "1", "2"],
      [2, "multiply", 1, 1],
      [3, "subtract", 2, 1],
    ]);
    expect(graph.calls[0]).toMatchObject({ start: 0, end: 5 });
  });

  it("compares by value: spaces, parentheses, notation and the names of variables make no difference", () => {
    expect(graphOf("f(1.0, 'a') + f( (1e0), \"\\u0061\" ) + f(one, 'a')", { one: "1" }, all).calls).toHaveLength(3);
  });

  it("tells apart other functions, other orders and other types", () => {
    expect(graphOf("h(f(1), g(1), f(1,2), f(2,1), f('1'), f(), f(12), f(1,2,3))", {}, all).calls).toHaveLength(9);
  });

  it("never merges calls of other functions, nor what depends on them", () => {
    const deterministic: Predicate = (name) => name !== "roll";
    expect(callsOf(graphOf("roll() + roll() + f(1) * f(1)", {}, deterministic))).toEqual([
      [1, "roll"],
      [2, "roll"],
      [3, "add", 1, 2],
      [4, "f", "1"],
      [5, "multiply", 4, 4],
      [6, "add", 3, 5],
    ]);
    expect(graphOf("f(roll()) + f(roll())", {}, deterministic).calls).toHaveLength(5);
  });

  it("is not misled by what a string contains", () => {
    expect(graphOf(`g(f('1,2'), f(1,2), f('1","2'), f('1','2'))`, {}, all).calls).toHaveLength(5);
  });

  it("tells apart operands whose numbers read alike together", () => {
    const first = Array.from({ length: 23 }, (_, index) => `g(${index + 1})`);
    expect(graphOf(`k(${first}, f(g(1), g(23)), f(g(12), g(3)))`, {}, all).calls).toHaveLength(26);
  });

  it("shares 10,000 equal terms", () => {
    expect(graphOf(`f(x)${"+f(x)".repeat(10_000)}`, { x: "1" }, all).calls).toHaveLength(10_001);
  });
});

describe("functionsOf and variablesOf", () => {
  it("name what is used once, in the order of the text, with the operators that use it", () => {
    const tree = parse("f(b) * -g(a) - f(c*b)");
    expect(functionsOf(tree)).toEqual([
      { name: "f", position: 0 },
      { name: "multiply", position: 5, operator: "*" },
      { name: "subtract", position: 7, operator: "-" },
      { name: "g", position: 8 },
    ]);
    expect(variablesOf(tree)).toEqual([
      { name: "b", position: 2 },
      { name: "a", position: 10 },
      { name: "c", position: 17 },
    ]);
  });

  it("leave out the minus of a literal", () => {
    expect(functionsOf(parse("--(-3)"))).toEqual([]);
  });

  it("take the first use also when an operator and a name mean the same function", () => {
    expect(functionsOf(parse("add(1+2, 3)"))).toEqual([{ name: "add", position: 0 }]);
    expect(functionsOf(parse("1+add(2, 3)"))).toEqual([{ name: "add", position: 1, operator: "+" }]);
  });
});
