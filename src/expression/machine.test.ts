import { describe, expect, it } from "vitest";
import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { Command } from "../protocol/run.ts";
import type { ExpressionRun } from "./machine.ts";
import { createExpressionRun, validateExpression } from "./machine.ts";

type Predicate = (name: string) => boolean;

const none: Predicate = () => false;
const all: Predicate = () => true;

const call = (seq: number, fn: string, input: Json): Command => ({ t: "call", seq, fn, input });
const finish = (value: Json): Command => ({ t: "finish", value });

const newRun = (text: string, variables: Json = "", deterministic = none): ExpressionRun =>
  createExpressionRun(text, variables, deterministic);

/** Answers every call in the order of the commands; tells how many there were and the last command. */
const drive = (run: ExpressionRun, answer: (fn: string, input: Json) => Json): { calls: number; last: Command | undefined } => {
  const commands = run.start();
  let calls = 0;
  for (const command of commands) {
    if (command.t !== "call") continue;
    calls++;
    commands.push(...run.resolve(command.seq, { value: answer(command.fn, command.input) }));
  }
  return { calls, last: commands.at(-1) };
};

describe("the course of a run", () => {
  it("commands every ready call at once and each other one when its last operand arrives", () => {
    const run = newRun("((3+5)*(4/2))");
    expect(run.start()).toEqual([call(1, "add", "[3,5]"), call(2, "divide", "[4,2]")]);
    expect(run.resolve(2, { value: "2" })).toEqual([]);
    expect(run.resolve(1, { value: "8" })).toEqual([call(3, "multiply", "[8,2]")]);
    expect(run.resolve(3, { value: "16" })).toEqual([finish("16")]);
  });

  it.each([
    ["42", "", "42"],
    ["-1.50", "", "-1.5"],
    ["'a'", "", '"a"'],
    ["order", '{"order":{"id": 7}}', '{"id": 7}'],
  ])("finishes the constant %s at once", (text, variables, value) => {
    expect(newRun(text, variables).start()).toEqual([finish(value)]);
  });

  it("commands all calls that one result makes ready, in the order of their numbers", () => {
    const run = newRun("f(g(1), h(g(1)), k(g(1)))", "", all);
    expect(run.start()).toEqual([call(1, "g", "1")]);
    expect(run.resolve(1, { value: '"r"' })).toEqual([call(2, "h", '"r"'), call(3, "k", '"r"')]);
    expect(run.resolve(3, { value: "3" })).toEqual([]);
    expect(run.resolve(2, { value: "2" })).toEqual([call(4, "f", '["r",2,3]')]);
  });

  it("commands a call once when it uses the same result several times", () => {
    const run = newRun("f(1)*f(1)", "", all);
    expect(run.start()).toEqual([call(1, "f", "1")]);
    expect(run.resolve(1, { value: "5" })).toEqual([call(2, "multiply", "[5,5]")]);
    expect(run.resolve(2, { value: "25" })).toEqual([finish("25")]);
  });

  it("gives the same commands for the same outcomes in a replay", () => {
    const outcomes = [1, 3, 2, 4, 5, 6].map((seq) => [seq, { value: String(seq * 10) }] as const);
    const replay = (): Command[] => {
      const run = newRun("f(a)+g(b)*(h()-f(a))", '{"a":1,"b":[2]}', (name) => name !== "h");
      return [...run.start(), ...outcomes.flatMap(([seq, outcome]) => run.resolve(seq, outcome))];
    };
    expect(replay()).toEqual(replay());
    expect(replay().at(-1)?.t).toBe("finish");
  });

  it.each([
    ["a call that is not ready", 3],
    ["a call that there is not", 4],
    ["no call", 0],
    ["a call that has an outcome", 1],
  ])("refuses an outcome of %s", (_, seq) => {
    const run = newRun("(1+2)*(3+4)");
    run.start();
    run.resolve(1, { value: "3" });
    expect(() => run.resolve(seq, { value: "1" })).toThrow(expect.objectContaining({ code: "INTERNAL", details: { seq } }));
  });
});

describe("inputs", () => {
  it.each([
    ["f()", ""],
    ["f(7)", "7"],
    ["f('a')", '"a"'],
    ["f(list)", "[1, 2]"],
    ["f(1,2)", "[1,2]"],
    ["f(list,'x',order)", '[[1, 2],"x",{"id":7}]'],
    ["1-order", '[1,{"id":7}]'],
  ])("of %s are %j", (text, input) => {
    const variables = '{"list": [1, 2], "order": {"id":7}}';
    expect(newRun(text, variables).start()).toMatchObject([{ t: "call", input }]);
  });

  it("pass an undefined result on by itself, and as null among others", () => {
    const alone = newRun("f(g())");
    alone.start();
    expect(alone.resolve(1, { value: "" })).toEqual([call(2, "f", "")]);
    expect(alone.resolve(2, {})).toEqual([finish("")]);
    const among = newRun("f(1, g())");
    among.start();
    expect(among.resolve(1, { value: "" })).toEqual([call(2, "f", "[1,null]")]);
  });
});

describe("a failed call", () => {
  const failure: Failure = {
    code: "DIVISION_BY_ZERO",
    message: "1 cannot be divided by 0",
    attempts: 1,
    cause: { code: "CAUSE", message: "zero" },
  };

  it("finishes the run with its failure and the place in the text", () => {
    const run = newRun("2 * (1 / 0)");
    run.start();
    expect(run.resolve(1, { failure })).toEqual([
      {
        t: "finish",
        failure: {
          ...failure,
          message: "1 cannot be divided by 0 (in (1 / 0), column 8)",
          call: { function: "divide", seq: 1 },
          details: { position: 7, expression: "(1 / 0)" },
        },
      },
    ]);
  });

  it("finishes it once: later outcomes give no commands", () => {
    const run = newRun("f(1)+g(2)");
    run.start();
    expect(run.resolve(1, { failure })).toHaveLength(1);
    expect(run.resolve(2, { failure })).toEqual([]);
    expect(run.resolve(2, { value: "1" })).toEqual([]);
  });

  it.each([
    [undefined, { position: 0, expression: "f(1)" }],
    [
      { orderId: 7, position: "theirs" },
      { orderId: 7, position: "theirs", expression: "f(1)" },
    ],
    ["plain", "plain"],
    [[1], [1]],
  ])("keeps its own details %j", (details, shown) => {
    const run = newRun("f(1)");
    run.start();
    const own: Failure = { ...failure, details, call: { function: "own", seq: 9 } };
    expect(run.resolve(1, { failure: own })).toMatchObject([{ failure: { details: shown, call: { function: "own", seq: 9 } } }]);
  });

  it("quotes no more than the beginning of a long sub-expression", () => {
    const run = newRun(`f('${"x".repeat(100_000)}')`);
    run.start();
    expect(JSON.stringify(run.resolve(1, { failure })).length).toBeLessThan(1_000);
  });
});

describe("size", () => {
  it.each([
    ["a sum of 10,000 terms to the left", `1${"+1".repeat(10_000)}`, 10_000],
    ["a sum of 10,000 terms to the right", `${"1+(".repeat(10_000)}1${")".repeat(10_000)}`, 10_000],
    ["10,000 unary minuses", `${"-".repeat(10_000)}x`, 10_000],
    ["10,000 nested calls", `${"f(".repeat(10_000)}${")".repeat(10_000)}`, 10_000],
    ["10,000 arguments", `f(${"g(),".repeat(9_999)}g())`, 10_001],
  ])("drives %s", (_, text, calls) => {
    const driven = drive(newRun(text, '{"x":1}'), () => "1");
    expect(driven).toEqual({ calls, last: finish("1") });
  });
});

describe("validateExpression", () => {
  const known = (name: string): boolean => ["add", "multiply", "f"].includes(name);

  const refusalOf = (text: string, variables: Json = ""): unknown => {
    try {
      validateExpression(text, variables, known);
    } catch (error) {
      return error;
    }
    return undefined;
  };

  it.each([
    ["1+2*f(3)", ""],
    ["f(a)", '{"a":1}'],
    ["-3", ""],
  ])("accepts %s", (text, variables) => {
    expect(refusalOf(text, variables)).toBeUndefined();
  });

  it.each([
    ["foo(1)", "foo", 0, 'no deployed application defines function "foo", called at column 1'],
    ["1/2", "divide", 1, 'no deployed application defines function "divide", which "/" at column 2 calls'],
    ["f(1)*-f(2)", "subtract", 5, 'no deployed application defines function "subtract", which "-" at column 6 calls'],
    ["foo(missing)", "foo", 0, 'no deployed application defines function "foo", called at column 1'],
  ])("refuses the unknown function of %s", (text, name, position, message) => {
    expect(refusalOf(text)).toMatchObject({ code: "UNKNOWN_FUNCTION", message, details: { name, position } });
  });

  it("reports the first unknown name of the text, variable or function", () => {
    expect(refusalOf("missing + foo(1)")).toMatchObject({ code: "UNKNOWN_VARIABLE", details: { name: "missing", position: 0 } });
    expect(refusalOf("f(a, missing, bar(b), other)", '{"a":1}')).toMatchObject({ details: { name: "missing", position: 5 } });
  });

  it("reports the text's own errors before anything else", () => {
    expect(refusalOf("foo(missing", "[")).toMatchObject({ code: "EXPRESSION_INVALID", details: { position: 11 } });
    expect(refusalOf("foo(missing)", "[")).toMatchObject({ code: "BAD_REQUEST" });
  });

  it("applies the limits", () => {
    expect(() => validateExpression("1+2+3", "", known, { maxOperators: 1 })).toThrow(
      expect.objectContaining({ code: "EXPRESSION_TOO_LARGE" }),
    );
  });

  it("leaves runs that were accepted under other limits alone", () => {
    const text = `${"(".repeat(2_000)}1${")".repeat(2_000)}`;
    expect(refusalOf(text)).toMatchObject({ code: "EXPRESSION_TOO_LARGE" });
    expect(createExpressionRun(text, "", none).start()).toEqual([finish("1")]);
    expect(() => createExpressionRun(text, "", none, { maxDepth: 1_999 })).toThrow(
      expect.objectContaining({ code: "EXPRESSION_TOO_LARGE" }),
    );
  });

  it("accepts exactly what a run can be made of, whatever the variables hold", () => {
    const variables = `{"deep":${"[".repeat(50_000)}${"]".repeat(50_000)},"huge":1e999}`;
    validateExpression("f(deep, huge)", variables, known);
    expect(createExpressionRun("f(deep, huge)", variables, all).start()).toHaveLength(1);
  });
});
