/**
 * The four functions behind the operators of expressions: `((3+5)*(4/2))` calls add, divide and multiply, each in a pod of its own.
 * A function of an expression gets its operands as an array.
 */
import type { StandardSchemaV1 } from "lockstep";
import { fn, TerminalError } from "lockstep";

type Operands = [a: number, b: number];

// A validator by hand: anything that implements Standard Schema fits, so this needs no library (see examples/booking for one).
const operands: StandardSchemaV1<unknown, Operands> = {
  "~standard": {
    version: 1,
    vendor: "arithmetic-example",
    validate: (value) => {
      if (!Array.isArray(value) || value.length !== 2) return { issues: [{ message: "expected two operands" }] };
      const issues = value.flatMap((operand, i) => (typeof operand === "number" ? [] : [{ message: "expected a number", path: [i] }]));
      return issues.length > 0 ? { issues } : { value: value as Operands };
    },
  },
};

// The same operands always give the same result, so an expression that contains (a+b) twice computes it once.
const options = { input: operands, deterministic: true };

export const add = fn("add", ([a, b]) => a + b, options);

export const subtract = fn("subtract", ([a, b]) => a - b, options);

export const multiply = fn("multiply", ([a, b]) => a * b, options);

export const divide = fn(
  "divide",
  ([a, b]) => {
    // Trying again cannot help, and Infinity would be no honest answer.
    if (b === 0) throw new TerminalError(`${a} / 0: division by zero`, { code: "DIVISION_BY_ZERO" });
    return a / b;
  },
  options,
);
