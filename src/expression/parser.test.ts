import { describe, expect, it } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import { DEFAULT_LIMITS, UNLIMITED } from "./limits.ts";
import type { Tree, TreeNode } from "./parser.ts";
import { parse } from "./parser.ts";

/** Writes the tree with every operation in brackets, which shows what binds to what. Relies on postfix order. */
const show = ({ nodes }: Tree): string => {
  const texts: string[] = [];
  for (const node of nodes) texts.push(showNode(node, texts));
  return texts.at(-1) as string;
};

const showNode = (node: TreeNode, texts: readonly string[]): string => {
  if (node.kind === "variable") return node.name;
  if (node.kind === "number" || node.kind === "string") return JSON.stringify(node.value);
  const operands = node.operands.map((index) => texts[index]);
  if (node.kind === "negate") return `[-${operands[0]}]`;
  return node.kind === "operator" ? `[${operands.join(node.operator)}]` : `${node.name}(${operands.join()})`;
};

const shown = (text: string): string => show(parse(text));
const literalOf = (text: string): unknown => (parse(text).nodes[0] as { value?: unknown }).value;

const refusalOf = (text: string, limits = {}): LockstepError => {
  try {
    parse(text, limits);
  } catch (error) {
    if (error instanceof LockstepError) return error;
    throw error;
  }
  throw new Error(`"${text}" was accepted`);
};

describe("precedence", () => {
  it.each([
    ["1+2*3", "[1+[2*3]]"],
    ["1*2+3", "[[1*2]+3]"],
    ["(1+2)*3", "[[1+2]*3]"],
    ["((3+5)*(4/2))", "[[3+5]*[4/2]]"],
    ["1-2-3", "[[1-2]-3]"],
    ["8/4/2", "[[8/4]/2]"],
    ["1-2*3-4/5+6", "[[[1-[2*3]]-[4/5]]+6]"],
    ["2/3*4", "[[2/3]*4]"],
  ])("reads %s as %s", (text, tree) => {
    expect(shown(text)).toBe(tree);
  });

  it.each([
    ["-a*b", "[[-a]*b]"],
    ["a*-b", "[a*[-b]]"],
    ["a--b", "[a-[-b]]"],
    ["--a", "[-[-a]]"],
    ["-a-b", "[[-a]-b]"],
    ["-(a+b)", "[-[a+b]]"],
    ["-f(a)+1", "[[-f(a)]+1]"],
  ])("binds a unary minus tighter than any operator: %s is %s", (text, tree) => {
    expect(shown(text)).toBe(tree);
  });

  it.each([
    ["-3", -3],
    ["--3", 3],
    ["-(3)", -3],
    ["-(-(3))", 3],
    ["-0", 0],
  ])("folds the minus of a literal: %s is %d", (text, value) => {
    expect(parse(text).nodes).toMatchObject([{ kind: "number", value, start: 0, end: text.length }]);
  });
});

describe("calls", () => {
  it.each([
    ["f()", "f()"],
    ["f( )", "f()"],
    ["f(a)", "f(a)"],
    ["f(a, 1+2, 'x')", 'f(a,[1+2],"x")'],
    ["f (g(), h(-1))", "f(g(),h(-1))"],
    ["ship(pay(confirm(order)))", "ship(pay(confirm(order)))"],
    ["f((a))*2", "[f(a)*2]"],
    ["_under_score9(A_1)", "_under_score9(A_1)"],
  ])("reads %s as %s", (text, tree) => {
    expect(shown(text)).toBe(tree);
  });

  it("takes a hyphen for a minus, never for a part of a name", () => {
    expect(shown("send-mail(x)")).toBe("[send-mail(x)]");
  });
});

describe("literals", () => {
  it.each([
    ["0", 0],
    ["42", 42],
    ["007", 7],
    ["3.25", 3.25],
    ["1e3", 1000],
    ["1E+3", 1000],
    ["12.5e-1", 1.25],
    ["1e-999", 0],
  ])("reads the number %s", (text, value) => {
    expect(literalOf(text)).toBe(value);
  });

  it.each([
    [`""`, ""],
    [`"it's"`, "it's"],
    [`'say "hi"'`, 'say "hi"'],
    [String.raw`"\"\'\\\/\b\f\n\r\t"`, "\"'\\/\b\f\n\r\t"],
    [String.raw`'\'\u00e9\uD83D\ude00'`, "'é😀"],
    ["'größe 😀'", "größe 😀"],
    ["'a\u007fb'", "a\u007fb"],
  ])("reads the string %s", (text, value) => {
    expect(literalOf(text)).toBe(value);
  });

  it("skips spaces, tabs and line breaks between tokens", () => {
    expect(shown(" \t1\r\n + \n 2 ")).toBe("[1+2]");
  });
});

describe("spans", () => {
  it("cover the sub-expression with its own parentheses", () => {
    const text = " (1+2) * f(3, -x) ";
    const { nodes } = parse(text);
    const spans = nodes.map(({ start, end }) => text.slice(start, end));
    expect(spans).toEqual(["1", "2", "(1+2)", "3", "x", "-x", "f(3, -x)", "(1+2) * f(3, -x)"]);
  });

  it("put the position of an operation at its operator or name", () => {
    const positions = parse("a + f(-b)").nodes.flatMap((node) => ("position" in node ? [[node.kind, node.position]] : []));
    expect(positions).toEqual([
      ["negate", 6],
      ["call", 4],
      ["operator", 2],
    ]);
  });
});

describe("errors", () => {
  const operand = 'a number, a string, a name, "(" or "-"';
  it.each([
    ["", 0, `expected ${operand} at column 1, found the end of the text`],
    ["  ", 2, `expected ${operand} at column 3, found the end of the text`],
    ["1+", 2, `expected ${operand} at column 3, found the end of the text`],
    ["(((", 3, `expected ${operand} at column 4, found the end of the text`],
    ["1+*2", 2, `expected ${operand} at column 3, found "*"`],
    ["+1", 0, `expected ${operand} at column 1, found "+"`],
    ["()", 1, `expected ${operand} at column 2, found ")"`],
    ["f(1,)", 4, `expected ${operand} at column 5, found ")"`],
    ["f(,1)", 2, 'expected a number, a string, a name, "(", "-" or ")" at column 3, found ","'],
    ["f(", 2, 'expected a number, a string, a name, "(", "-" or ")" at column 3, found the end of the text'],
    [".5", 0, `expected ${operand} at column 1, found "."`],
    ["@", 0, `expected ${operand} at column 1, found "@"`],
    ["1 2", 2, 'expected an operator or the end of the text at column 3, found "2"'],
    ["2x", 1, 'expected an operator or the end of the text at column 2, found "x"'],
    ["1)", 1, 'expected an operator or the end of the text at column 2, found ")"'],
    ["1,2", 1, 'expected an operator or the end of the text at column 2, found ","'],
    ["(1", 2, 'expected an operator or ")" at column 3, found the end of the text'],
    ["(1,2)", 2, 'expected an operator or ")" at column 3, found ","'],
    ["f(1", 3, 'expected an operator, "," or ")" at column 4, found the end of the text'],
    ["f(1 'a b')", 4, 'expected an operator, "," or ")" at column 5, found the string "a b"'],
    ["größe", 2, 'expected an operator or the end of the text at column 3, found "ö"'],
    ["1\u00a0", 1, "expected an operator or the end of the text at column 2, found U+00A0"],
    ["1😀", 1, 'expected an operator or the end of the text at column 2, found "😀"'],
    ["'a\ud800'", 2, "expected both halves of a surrogate pair at column 3, found U+D800"],
    ["1.", 2, "expected a digit at column 3, found the end of the text"],
    ["1.x", 2, 'expected a digit at column 3, found "x"'],
    ["1e", 2, "expected a digit at column 3, found the end of the text"],
    ["1e+", 3, "expected a digit at column 4, found the end of the text"],
    ["2*1e999", 2, 'expected a number below 1.8e308 at column 3, found "1e999"'],
    ["1+'ab", 5, "expected the ' that ends the string of column 3 at column 6, found the end of the text"],
    ['"a\nb"', 2, 'expected the " that ends the string of column 1 at column 3, found U+000A'],
    [String.raw`"\q"`, 2, 'expected an escape: one of \\ / " \' b f n r t, or u and four hexadecimal digits at column 3, found "q"'],
    [String.raw`"\u12"`, 2, 'expected an escape: one of \\ / " \' b f n r t, or u and four hexadecimal digits at column 3, found "u"'],
    ["'\\", 2, "expected an escape: one of \\ / \" ' b f n r t, or u and four hexadecimal digits at column 3, found the end of the text"],
  ])("refuses %j at offset %d", (text, position, message) => {
    const refusal = refusalOf(text);
    expect(refusal.message).toBe(message);
    expect(refusal).toMatchObject({ code: "EXPRESSION_INVALID", details: { position, expected: expect.any(Array) } });
  });

  it("lists what was expected for programs", () => {
    expect(refusalOf("(1").details).toEqual({ position: 2, expected: ["an operator", '")"'] });
  });

  it("keeps messages short when what was found is long", () => {
    expect(refusalOf(`1 ${"x".repeat(100_000)}`).message.length).toBeLessThan(200);
  });
});

describe("size", () => {
  const deep = (depth: number): string => `${"(".repeat(depth)}1${")".repeat(depth)}`;

  it.each([
    ["10,000 operators in a row", `1${"+1".repeat(10_000)}`],
    ["10,000 operators of mixed precedence", `1${"+2*3".repeat(5_000)}`],
    ["1,000 nested parentheses", deep(1_000)],
    ["an operand of 200,000 characters", `'${"x".repeat(199_998)}'`],
  ])("accepts %s by default", (_, text) => {
    expect(parse(text).nodes.at(-1)).toMatchObject({ start: 0, end: text.length });
  });

  it.each([
    ["parentheses", deep(100_000)],
    ["sums to the right", `${"1+(".repeat(100_000)}1${")".repeat(100_000)}`],
    ["sums to the left", `${"(".repeat(100_000)}1${"+1)".repeat(100_000)}`],
    ["unary minuses", `${"-".repeat(100_000)}x`],
    ["calls", `${"f(".repeat(100_000)}${")".repeat(100_000)}`],
    ["arguments", `f(${"1,".repeat(100_000)}1)`],
  ])("reads 100,000 %s without overflowing the stack when the limits allow it", (_, text) => {
    expect(parse(text, UNLIMITED).nodes.at(-1)).toMatchObject({ start: 0, end: text.length });
  });

  it.each([
    ["maxLength", "1 + 1", { maxLength: 4 }, 4],
    ["maxDepth", "1+((1))", { maxDepth: 1 }, 3],
    ["maxDepth", "f(f(1))", { maxDepth: 1 }, 2],
    ["maxDepth", "--x", { maxDepth: 1 }, 1],
    ["maxOperators", "1+2+3", { maxOperators: 1 }, 3],
    ["maxOperators", "f()+2", { maxOperators: 1 }, 3],
    ["maxOperators", "1-f()", { maxOperators: 1 }, 2],
    ["maxOperators", "-x*y", { maxOperators: 1 }, 2],
  ] as const)("refuses what exceeds %s: %s", (limit, text, limits, position) => {
    const refusal = refusalOf(text, limits);
    expect(refusal).toMatchObject({ code: "EXPRESSION_TOO_LARGE", details: { limit, maximum: Object.values(limits)[0], position } });
    expect(refusal.message).toContain(limit);
    expect(refusal.message).toContain(`column ${position + 1}`);
  });

  it.each([
    ["maxLength", "x".repeat(DEFAULT_LIMITS.maxLength + 1)],
    ["maxDepth", deep(DEFAULT_LIMITS.maxDepth + 1)],
    ["maxOperators", `1${"+1".repeat(DEFAULT_LIMITS.maxOperators + 1)}`],
  ])("has a default %s", (limit, text) => {
    expect(refusalOf(text).details).toMatchObject({ limit });
  });

  it("counts nesting, not how often it occurs", () => {
    expect(shown("(1)+(2)*-x-f(-y)")).toBe(show(parse("(1)+(2)*-x-f(-y)", { maxDepth: 2 })));
  });

  it("keeps the defaults of the limits that are not given", () => {
    expect(refusalOf(deep(1_001), { maxLength: 1e9, maxDepth: undefined }).details).toMatchObject({ limit: "maxDepth" });
  });
});
