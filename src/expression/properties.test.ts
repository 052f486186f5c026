import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { Command } from "../protocol/run.ts";
import { buildGraph } from "./graph.ts";
import { UNLIMITED } from "./limits.ts";
import { createExpressionRun, validateExpression } from "./machine.ts";
import type { Tree } from "./parser.ts";
import { parse } from "./parser.ts";

type Operator = "+" | "-" | "*" | "/";

/** An expression as people mean it; the tests print it, and evaluate it without the code under test. */
type Meant =
  | { is: "number"; digits: string }
  | { is: "variable"; name: string }
  | { is: "negate"; of: Meant }
  | { is: "operator"; operator: Operator; left: Meant; right: Meant }
  | { is: "call"; name: string; inputs: Meant[] };

const VARIABLES: Record<string, number> = { a: 1, b: 2, c: -3.5 };
const FUNCTIONS = ["f", "g", "roll"];
const NAMES: Record<Operator, string> = { "+": "add", "-": "subtract", "*": "multiply", "/": "divide" };

const digits = fc.oneof(
  fc.nat(9).map(String),
  fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map((value) => String(Math.abs(value))),
);

const meant: fc.Arbitrary<Meant> = fc.letrec<{ any: Meant }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    digits.map((value): Meant => ({ is: "number", digits: value })),
    fc.constantFrom(...Object.keys(VARIABLES)).map((name): Meant => ({ is: "variable", name })),
    tie("any").map((of): Meant => ({ is: "negate", of })),
    fc
      .tuple(fc.constantFrom<Operator[]>("+", "-", "*", "/"), tie("any"), tie("any"))
      .map(([operator, left, right]): Meant => ({ is: "operator", operator, left, right })),
    fc
      .tuple(fc.constantFrom(...FUNCTIONS), fc.array(tie("any"), { maxLength: 3 }))
      .map(([name, inputs]): Meant => ({ is: "call", name, inputs })),
  ),
})).any;

const levelOf = (node: Meant): number => {
  if (node.is === "operator") return node.operator === "+" || node.operator === "-" ? 1 : 2;
  return node.is === "negate" ? 3 : 4;
};

/** Prints with the fewest parentheses, or with some more where `extra` says so. */
const print = (node: Meant, extra: () => string | undefined): string => {
  const inner = (child: Meant, least: number): string => {
    const text = print(child, extra);
    return levelOf(child) < least ? `(${text})` : text;
  };
  const text = (): string => {
    if (node.is === "number") return node.digits;
    if (node.is === "variable") return node.name;
    if (node.is === "negate") return `-${inner(node.of, 3)}`;
    if (node.is === "call") return `${node.name}(${node.inputs.map((input) => inner(input, 0)).join()})`;
    return inner(node.left, levelOf(node)) + node.operator + inner(node.right, levelOf(node) + 1);
  };
  const space = extra();
  return space === undefined ? text() : `${space}(${text()}${space})`;
};

const plain = (node: Meant): string => print(node, () => undefined);

/** The meaning of operators and functions in a test: a total function on numbers, so that it can cross JSON. */
type Meaning = (fn: string, inputs: readonly number[]) => number;

const arithmetic: Meaning = (fn, inputs) => {
  const [x = 0, y = 0] = inputs;
  const results: Record<string, number> = {
    add: x + y,
    subtract: x - y,
    multiply: x * y,
    divide: x / y,
    f: Math.max(0, ...inputs),
    g: -x,
    roll: 4,
  };
  return results[fn] as number;
};

/** Neither commutative nor associative in anything, and different for every function, so that any mix-up changes the result. */
const scrambled: Meaning = (fn, inputs) =>
  inputs.reduce(
    (sum, input, index) => (sum * 31 + Math.floor(Math.abs(input) % 1e6) * (index + 7)) % 1_000_003,
    fn.charCodeAt(0) * 1009 + inputs.length,
  );

const evaluate = (node: Meant, meaning: Meaning): number => {
  if (node.is === "number") return Number(node.digits);
  if (node.is === "variable") return VARIABLES[node.name] as number;
  if (node.is === "negate")
    return isLiteral(node.of) ? 0 - evaluate(node.of, meaning) : meaning("subtract", [0, evaluate(node.of, meaning)]);
  if (node.is === "call") {
    return meaning(
      node.name,
      node.inputs.map((input) => evaluate(input, meaning)),
    );
  }
  return meaning(NAMES[node.operator], [evaluate(node.left, meaning), evaluate(node.right, meaning)]);
};

const isLiteral = (node: Meant): boolean => node.is === "number" || (node.is === "negate" && isLiteral(node.of));

const evaluateTree = ({ nodes }: Tree, meaning: Meaning): number => {
  const values: number[] = [];
  for (const node of nodes) {
    if (node.kind === "number") values.push(node.value);
    else if (node.kind === "variable") values.push(VARIABLES[node.name] as number);
    else if (node.kind !== "string") {
      const inputs = node.operands.map((index) => values[index] as number);
      if (node.kind === "negate") values.push(meaning("subtract", [0, ...inputs]));
      else values.push(meaning(node.kind === "operator" ? NAMES[node.operator] : node.name, inputs));
    }
  }
  return values.at(-1) as number;
};

/** Executes a run to its end, answering the calls that are under way in the order that `pick` chooses. */
const execute = (
  text: string,
  deterministic: (name: string) => boolean,
  pick: (count: number) => number,
): { value: number; calls: string[] } => {
  const run = createExpressionRun(text, JSON.stringify(VARIABLES), deterministic);
  const calls: string[] = [];
  const underWay: Extract<Command, { t: "call" }>[] = [];
  for (let commands = run.start(); ; ) {
    for (const command of commands) {
      if (command.t === "finish") return { value: JSON.parse(command.value as Json), calls: calls.sort() };
      if (command.t !== "call") throw new Error(`unexpected command ${command.t}`);
      calls.push(`${command.seq} ${command.fn} ${command.input}`);
      underWay.push(command);
    }
    const [next] = underWay.splice(pick(underWay.length), 1);
    if (next === undefined) throw new Error("the run waits for nothing");
    commands = run.resolve(next.seq, { value: JSON.stringify(scrambled(next.fn, inputsOf(next.input))) });
  }
};

const inputsOf = (input: Json): number[] => (input === "" ? [] : ([JSON.parse(input)].flat() as number[]));

describe("any expression", () => {
  it("printed and parsed evaluates to what was meant, however many parentheses and spaces are in it", () => {
    fc.assert(
      fc.property(meant, fc.infiniteStream(fc.option(fc.constantFrom("", " ", "\n\t"), { nil: undefined })), (node, extra) => {
        const text = print(node, () => extra.next().value as string | undefined);
        const value = evaluateTree(parse(text), arithmetic);
        // Not `Object.is`: a literal is never -0.
        expect(value === evaluate(node, arithmetic) || Number.isNaN(value)).toBe(true);
        expect(Number.isNaN(value)).toBe(Number.isNaN(evaluate(node, arithmetic)));
      }),
      { numRuns: 500 },
    );
  });

  it("has a tree in postfix order, in which each node but the root has one user and spans nest", () => {
    fc.assert(
      fc.property(meant, (node) => {
        const { nodes, text } = parse(plain(node));
        const used = nodes.flatMap((each, index) => {
          if (!("operands" in each)) return [];
          for (const operand of each.operands) {
            expect(operand).toBeLessThan(index);
            expect(nodes[operand]?.start).toBeGreaterThanOrEqual(each.start);
            expect(nodes[operand]?.end).toBeLessThanOrEqual(each.end);
          }
          return each.operands;
        });
        expect([...used].sort((x, y) => x - y)).toEqual(nodes.slice(0, -1).map((_, index) => index));
        expect(nodes.at(-1)).toMatchObject({ start: 0, end: text.length });
      }),
    );
  });

  it("executes to what was meant, in whatever order the calls are answered, with sharing and without", () => {
    fc.assert(
      fc.property(meant, fc.infiniteStream(fc.nat()), (node, picks) => {
        const text = plain(node);
        const pick = (count: number): number => (picks.next().value as number) % count;
        const shared = execute(text, (name) => name !== "roll", pick);
        const separate = execute(text, () => false, pick);
        expect(shared.value).toBe(evaluate(node, scrambled));
        expect(separate.value).toBe(shared.value);
        expect(shared.calls.length).toBeLessThanOrEqual(separate.calls.length);
      }),
      { numRuns: 500 },
    );
  });

  it("commands the same calls with the same numbers and inputs in whatever order they are answered", () => {
    fc.assert(
      fc.property(meant, fc.infiniteStream(fc.nat()), (node, picks) => {
        const inOrder = execute(
          plain(node),
          (name) => name === "f",
          () => 0,
        );
        const mixed = execute(
          plain(node),
          (name) => name === "f",
          (count) => (picks.next().value as number) % count,
        );
        expect(mixed).toEqual(inOrder);
      }),
    );
  });

  it("has no two equal calls when all functions are deterministic, and numbers operands before their users", () => {
    fc.assert(
      fc.property(meant, (node) => {
        const variables = new Map(Object.entries(VARIABLES).map(([name, value]) => [name, JSON.stringify(value)]));
        const { calls } = buildGraph(parse(plain(node)), variables, () => true);
        expect(new Set(calls.map(({ fn, operands }) => JSON.stringify([fn, operands]))).size).toBe(calls.length);
        for (const { seq, operands } of calls) {
          for (const operand of operands) if (typeof operand === "number") expect(operand).toBeLessThan(seq);
        }
      }),
    );
  });
});

describe("any text", () => {
  const expectParsedOrRefused = (text: string): void => {
    try {
      parse(text, UNLIMITED);
    } catch (error) {
      if (!(error instanceof LockstepError)) throw error;
      expect(error.code).toBe("EXPRESSION_INVALID");
      const position = error.details?.position as number;
      expect(Number.isInteger(position) && position >= 0 && position <= text.length).toBe(true);
      expect(error.message).toContain(`at column ${position + 1}, found `);
    }
  };

  it("is an expression or is refused at a position within it: prefixes of expressions", () => {
    fc.assert(
      fc.property(meant, fc.nat(), (node, at) => {
        const text = plain(node);
        expectParsedOrRefused(text.slice(0, at % (text.length + 1)));
      }),
      { numRuns: 500 },
    );
  });

  it("is an expression or is refused at a position within it: damaged expressions", () => {
    const alphabet = [..."01.e+-*/(),'\"\\uab_ \n@é\ud800"];
    fc.assert(
      fc.property(meant, fc.nat(), fc.nat(3), fc.constantFrom(...alphabet), (node, at, removed, inserted) => {
        const text = plain(node);
        const cut = at % (text.length + 1);
        expectParsedOrRefused(text.slice(0, cut) + inserted + text.slice(cut + removed));
      }),
      { numRuns: 1_000 },
    );
  });

  it("is an expression or is refused at a position within it: strings of the language's characters", () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."01.eE+-*/(),'\"\\ubx_ \n"), maxLength: 30 }), expectParsedOrRefused), {
      numRuns: 2_000,
    });
  });

  it("is an expression or is refused at a position within it: strings of anything", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), expectParsedOrRefused), { numRuns: 1_000 });
  });

  it("that was validated can be run", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."12.e+-*/(),'abf "), maxLength: 20 }), (text) => {
        const variables = JSON.stringify(VARIABLES);
        try {
          validateExpression(text, variables, () => true);
        } catch {
          expect(() => createExpressionRun(text, variables, () => true)).toThrow(LockstepError);
          return;
        }
        expect(createExpressionRun(text, variables, () => true).start().length).toBeGreaterThan(0);
      }),
      { numRuns: 2_000 },
    );
  });

  it("keeps a string literal's value", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        const [command] = createExpressionRun(JSON.stringify(value), "", () => false).start();
        expect(command).toEqual({ t: "finish", value: JSON.stringify(value) });
      }),
    );
  });
});
